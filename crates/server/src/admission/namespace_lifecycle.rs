//! `NamespaceLifecycle`: objects are created in namespaces that exist and are not terminating, and
//! some namespaces cannot be deleted.

use futures::future::BoxFuture;
use pandaemon_machinery::{
    Status,
    status::{Cause, Result},
};
use serde_json::Value;

use super::{
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};
use crate::registry::kinds;

/// Namespaces that must not be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-system", "kube-public"];

#[derive(Debug)]
pub(super) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn rules(&self) -> Vec<Rule> {
        // The namespace of a request is that of its path, so no field is read.
        let creations = Rule::new(&[Operation::Create], "*", &["*/*"]).looks_up("", "namespaces");
        let deletions =
            Rule::new(&[Operation::Delete], "", &["namespaces"]).reads(&["/metadata/name"]);
        [creations.reads(&[]), deletions]
            .map(|rule| rule.writes(&[]))
            .into()
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        _object: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        done(check(&attributes))
    }

    /// Once more, as the namespace may have changed while other plugins waited. Upstream does not:
    /// there, only the deletion of the namespace finds what was created meanwhile.
    fn validate<'a>(
        &'a self,
        attributes: Attributes<'a>,
        _object: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        done(check(&attributes))
    }
}

fn check(attributes: &Attributes<'_>) -> Result<()> {
    match attributes.operation {
        Operation::Delete => check_deletion(attributes),
        _ => check_creation(attributes),
    }
}

fn check_deletion(attributes: &Attributes<'_>) -> Result<()> {
    if PROTECTED.contains(&attributes.name) {
        return Err(attributes.forbidden("this namespace may not be deleted"));
    }
    Ok(())
}

fn check_creation(attributes: &Attributes<'_>) -> Result<()> {
    let name = attributes.namespace;
    if name.is_empty() || !attributes.kind.is_namespaced() {
        return Ok(());
    }
    let Some(namespace) = attributes.find("", "namespaces", "", name)? else {
        return Err(Status::not_found(kinds::namespaces()?, name));
    };
    if namespace.is_terminating() {
        return Err(terminating(attributes));
    }
    Ok(())
}

/// The status of a creation in a terminating namespace (403).
fn terminating(attributes: &Attributes<'_>) -> Box<Status> {
    let namespace = attributes.namespace;
    let mut status = attributes.forbidden(&format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    ));
    if let Some(details) = status.details.as_mut() {
        details.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        });
    }
    status
}

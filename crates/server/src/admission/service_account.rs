//! `ServiceAccount`: a new pod runs as a service account that exists, `default` if it names none,
//! and gets its token. Upstream: `plugin/pkg/admission/serviceaccount`.

mod mountable_secrets;
mod token_volume;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use pandaemon_machinery::{Status, status::Result};
use serde_json::Value;

use super::{
    mirror_pod::{ANNOTATIONS, is_mirror},
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};
use crate::{
    cache::object::Object,
    registry::{meta, pod_references},
};

/// The account that every namespace has.
const DEFAULT: &str = "default";
/// How long a pod waits for the default account of a new namespace, which a controller creates.
/// Upstream looks ten times, 100 to 200 ms apart.
const PATIENCE: Duration = Duration::from_millis(1800);

/// The fields of a pod's spec on which the outcome depends.
const READ: [&str; 8] = [
    ANNOTATIONS,
    "/spec/automountServiceAccountToken",
    "/spec/containers",
    "/spec/ephemeralContainers",
    "/spec/imagePullSecrets",
    "/spec/initContainers",
    "/spec/serviceAccountName",
    "/spec/volumes",
];
/// The fields that change.
const WRITTEN: [&str; 6] = [
    "/spec/containers",
    "/spec/imagePullSecrets",
    "/spec/initContainers",
    "/spec/serviceAccount",
    "/spec/serviceAccountName",
    "/spec/volumes",
];

#[derive(Debug)]
pub(super) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn rules(&self) -> Vec<Rule> {
        let creations = Rule::new(&[Operation::Create], "", &["pods"])
            .reads(&READ)
            .writes(&WRITTEN);
        let debugging = Rule::new(&[Operation::Update], "", &["pods/ephemeralcontainers"])
            .reads(&["/spec/ephemeralContainers", "/spec/serviceAccountName"])
            .writes(&[]);
        [creations, debugging]
            .map(|rule| rule.looks_up("", "serviceaccounts"))
            .into()
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        pod: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        if attributes.operation == Operation::Create && !is_mirror(pod) {
            return Box::pin(complete(attributes, pod));
        }
        done(check(&attributes, pod))
    }

    fn validate<'a>(
        &'a self,
        attributes: Attributes<'a>,
        pod: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        done(check(&attributes, pod))
    }
}

/// Sets the account of a new pod, its token volume and its pull secrets.
async fn complete(attributes: Attributes<'_>, pod: &mut Value) -> Result<()> {
    let name = match account_name(pod) {
        "" => DEFAULT.to_owned(),
        named => named.to_owned(),
    };
    pod["spec"]["serviceAccountName"] = name.as_str().into();
    pod["spec"]["serviceAccount"] = name.as_str().into();
    let names = (attributes.namespace, name.as_str());
    let account = match name == DEFAULT {
        true => {
            let waiting = attributes.wait_for("", "serviceaccounts", names, PATIENCE);
            found(&attributes, &name, waiting.await?)?
        }
        false => account(&attributes, &name)?,
    };
    token_volume::mount(&account, &mut pod["spec"]);
    add_pull_secrets(&account, &mut pod["spec"]);
    check_against(&attributes, &account, pod)
}

fn account_name(pod: &Value) -> &str {
    meta::text_at(pod, &["spec", "serviceAccountName"])
}

/// An account that exists.
fn account(attributes: &Attributes<'_>, name: &str) -> Result<Value> {
    let account = attributes.find("", "serviceaccounts", attributes.namespace, name)?;
    found(attributes, name, account)
}

fn found(attributes: &Attributes<'_>, name: &str, account: Option<Arc<Object>>) -> Result<Value> {
    let namespace = attributes.namespace;
    let missing = || {
        attributes.forbidden(&format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        ))
    };
    account
        .ok_or_else(missing)?
        .value()
        .map_err(Status::internal)
}

/// Uses the pull secrets of the account for a pod that names none.
fn add_pull_secrets(account: &Value, spec: &mut Value) {
    let has_own = pod_references::items(&spec["imagePullSecrets"]).next();
    let secrets = &account["imagePullSecrets"];
    if has_own.is_none() && pod_references::items(secrets).next().is_some() {
        spec["imagePullSecrets"] = secrets.clone();
    }
}

fn check(attributes: &Attributes<'_>, pod: &Value) -> Result<()> {
    if attributes.operation == Operation::Create && is_mirror(pod) {
        return check_mirror(attributes, pod);
    }
    match account_name(pod) {
        "" => Err(attributes.forbidden(&format!(
            "no service account specified for pod {}/{}",
            attributes.namespace, attributes.name
        ))),
        name => check_against(attributes, &account(attributes, name)?, pod),
    }
}

fn check_against(attributes: &Attributes<'_>, account: &Value, pod: &Value) -> Result<()> {
    let fault = match attributes.operation {
        Operation::Create => mountable_secrets::fault(account, &pod["spec"]),
        _ => mountable_secrets::fault_of_ephemeral(account, &pod["spec"]),
    };
    fault.map_or(Ok(()), |why| Err(attributes.forbidden(&why)))
}

/// A mirror pod stands for a static pod, which has no rights in the cluster.
fn check_mirror(attributes: &Attributes<'_>, pod: &Value) -> Result<()> {
    let mut sources = pod_references::projected_sources(pod);
    let why = if !account_name(pod).is_empty() {
        "a mirror pod may not reference service accounts"
    } else if pod_references::secrets(pod).next().is_some() {
        "a mirror pod may not reference secrets"
    } else if sources.any(|source| source["serviceAccountToken"].is_object()) {
        "a mirror pod may not use ServiceAccountToken volume projections"
    } else {
        return Ok(());
    };
    Err(attributes.forbidden(why))
}

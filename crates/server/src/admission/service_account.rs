//! `ServiceAccount`: a new pod runs as a service account that exists, `default` if it names none.

use futures::future::BoxFuture;
use pandaemon_machinery::status::Result;
use serde_json::Value;

use super::{
    mirror_pod::{ANNOTATIONS, is_mirror},
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};
use crate::registry::meta;

#[derive(Debug)]
pub(super) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = Rule::new(&[Operation::Create], "", &["pods"])
            .reads(&[ANNOTATIONS, "/spec/serviceAccountName"])
            .writes(&["/spec/serviceAccountName", "/spec/serviceAccount"])
            .looks_up("", "serviceaccounts");
        vec![rule]
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        pod: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        done(set_service_account(&attributes, pod))
    }
}

fn set_service_account(attributes: &Attributes<'_>, pod: &mut Value) -> Result<()> {
    if is_mirror(pod) {
        return Ok(());
    }
    let named = meta::text_at(pod, &["spec", "serviceAccountName"]);
    let name = if named.is_empty() { "default" } else { named }.to_owned();
    let namespace = attributes.namespace;
    let found = attributes.find("", "serviceaccounts", namespace, &name)?;
    if found.is_none() {
        return Err(attributes.forbidden(&format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        )));
    }
    pod["spec"]["serviceAccountName"] = name.as_str().into();
    pod["spec"]["serviceAccount"] = name.into();
    Ok(())
}

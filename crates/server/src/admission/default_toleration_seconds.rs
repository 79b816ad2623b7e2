//! `DefaultTolerationSeconds`: a new pod tolerates for some time that its node is not ready or
//! unreachable.

use futures::future::BoxFuture;
use pandaemon_machinery::status::Result;
use serde_json::{Value, json};

use super::{
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};

/// How long a pod without such tolerations stays on a node that is not ready or unreachable, in
/// seconds.
const TOLERATION_SECONDS: i64 = 300;

/// The field that is read and set.
const TOLERATIONS: &str = "/spec/tolerations";

#[derive(Debug)]
pub(super) struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = Rule::new(&[Operation::Create], "", &["pods"]);
        vec![rule.reads(&[TOLERATIONS]).writes(&[TOLERATIONS])]
    }

    fn admit<'a>(
        &'a self,
        _attributes: Attributes<'a>,
        pod: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        add_tolerations(pod);
        done(Ok(()))
    }
}

fn tolerates(toleration: &Value, key: &str) -> bool {
    let effect = toleration["effect"].as_str().unwrap_or_default();
    let own = toleration["key"].as_str().unwrap_or_default();
    (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
}

fn add_tolerations(pod: &mut Value) {
    let tolerations = &mut pod["spec"]["tolerations"];
    if !tolerations.is_array() {
        *tolerations = json!([]);
    }
    let Some(list) = tolerations.as_array_mut() else {
        return;
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        if !list.iter().any(|toleration| tolerates(toleration, key)) {
            list.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_default_tolerations_of_unready_and_unreachable_nodes() {
        let mut pod = json!({"spec": {"tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
        ]}});
        add_tolerations(&mut pod);
        let list = pod["spec"]["tolerations"].as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[1]["key"], "node.kubernetes.io/unreachable");
        assert_eq!(list[1]["tolerationSeconds"], TOLERATION_SECONDS);
        let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        add_tolerations(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 1);
    }
}

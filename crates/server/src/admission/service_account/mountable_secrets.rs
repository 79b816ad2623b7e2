//! The annotation `kubernetes.io/enforce-mountable-secrets` of a service account: its pods may
//! refer to the Secrets that the account lists only.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::registry::{meta, pod_references::items};

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// What a pod refers to and may not.
pub(super) fn fault(account: &Value, spec: &Value) -> Option<String> {
    let allowed = Allowed::of(account)?;
    let volumes = items(&spec["volumes"]).filter_map(|volume| {
        let secret = volume["secret"]["secretName"].as_str()?;
        allowed.refusal(secret, "volume with ")
    });
    let own = items(&account["imagePullSecrets"]).filter_map(|own| own["name"].as_str());
    let own: BTreeSet<&str> = own.collect();
    let pull_secrets = items(&spec["imagePullSecrets"]).enumerate();
    let pull_secrets = pull_secrets.filter_map(|(at, secret)| {
        let name = meta::text_at(secret, &["name"]);
        (!own.contains(name)).then(|| {
            format!(
                "imagePullSecrets[{at}].name=\"{name}\" is not allowed because service account {} does not \
                 reference that imagePullSecret",
                allowed.account
            )
        })
    });
    volumes
        .chain(allowed.faults_of(&spec["initContainers"], "init container"))
        .chain(allowed.faults_of(&spec["containers"], "container"))
        .chain(pull_secrets)
        .next()
}

/// What the ephemeral containers of a pod refer to and may not.
pub(super) fn fault_of_ephemeral(account: &Value, spec: &Value) -> Option<String> {
    let allowed = Allowed::of(account)?;
    let containers = &spec["ephemeralContainers"];
    allowed.faults_of(containers, "ephemeral container").next()
}

/// The Secrets that the pods of an account may refer to.
struct Allowed<'a> {
    account: &'a str,
    secrets: BTreeSet<&'a str>,
}

impl<'a> Allowed<'a> {
    /// `None` for all.
    fn of(account: &'a Value) -> Option<Self> {
        let flag = meta::text_at(account, &["metadata", "annotations", ENFORCE]);
        // As Go's `strconv.ParseBool`.
        if !matches!(flag, "1" | "t" | "T" | "true" | "TRUE" | "True") {
            return None;
        }
        let secrets = items(&account["secrets"]).filter_map(|secret| secret["name"].as_str());
        Some(Self {
            account: meta::name(account),
            secrets: secrets.collect(),
        })
    }

    fn refusal(&self, secret: &str, what: &str) -> Option<String> {
        let account = self.account;
        (!self.secrets.contains(secret)).then(|| {
            format!(
                "{what}secret.secretName=\"{secret}\" is not allowed because service account {account} does \
                 not reference that secret"
            )
        })
    }

    fn faults_of<'b>(
        &'b self,
        containers: &'b Value,
        word: &'b str,
    ) -> impl Iterator<Item = String> + 'b {
        items(containers).flat_map(move |container| {
            let name = meta::text_at(container, &["name"]);
            let variables = items(&container["env"]).filter_map(move |variable| {
                let secret = variable["valueFrom"]["secretKeyRef"]["name"].as_str()?;
                let variable = meta::text_at(variable, &["name"]);
                self.refusal(
                    secret,
                    &format!("{word} {name} with envVar {variable} referencing "),
                )
            });
            let sources = items(&container["envFrom"]).filter_map(move |source| {
                let secret = source["secretRef"]["name"].as_str()?;
                self.refusal(secret, &format!("{word} {name} with envFrom referencing "))
            });
            variables.chain(sources)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_of_an_account_that_enforces_it_refer_to_its_secrets_only() {
        let account = |flag: &str| {
            json!({
                "metadata": {"name": "a", "annotations": {ENFORCE: flag}},
                "secrets": [{"name": "own"}], "imagePullSecrets": [{"name": "pull"}],
            })
        };
        let env = |name: &str| {
            json!([{"name": "c", "env": [
                {"name": "V", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]}])
        };
        let from = |name: &str| json!([{"name": "c", "envFrom": [{"secretRef": {"name": name}}]}]);
        let table = [
            (json!({}), None),
            (
                json!({
                    "volumes": [{"name": "v", "emptyDir": {}}, {"secret": {"secretName": "own"}}],
                    "imagePullSecrets": [{"name": "pull"}], "containers": env("own"),
                    "initContainers": from("own"),
                }),
                None,
            ),
            (
                json!({"volumes": [{"secret": {"secretName": "x"}}]}),
                Some("volume with secret.secretName=\"x\""),
            ),
            (
                json!({"containers": env("x")}),
                Some("container c with envVar V referencing secret.secretName=\"x\""),
            ),
            (
                json!({"initContainers": from("x")}),
                Some("init container c with envFrom referencing secret.secretName=\"x\""),
            ),
            (
                json!({"imagePullSecrets": [{"name": "pull"}, {"name": "x"}]}),
                Some("imagePullSecrets[1].name=\"x\""),
            ),
        ];
        for (spec, expected) in table {
            let kind = match &spec["imagePullSecrets"][1] {
                Value::Null => "secret",
                _ => "imagePullSecret",
            };
            let rest = "is not allowed because service account a does not reference that";
            let expected = expected.map(|start| format!("{start} {rest} {kind}"));
            assert_eq!(fault(&account("true"), &spec), expected);
            assert_eq!(fault(&account("false"), &spec), None);
        }
        let spec = json!({"ephemeralContainers": env("x")});
        assert_eq!(fault(&account("true"), &spec), None);
        let found = fault_of_ephemeral(&account("t"), &spec).unwrap();
        assert!(found.starts_with("ephemeral container c with envVar V"));
        assert_eq!(fault_of_ephemeral(&account(""), &spec), None);
    }
}

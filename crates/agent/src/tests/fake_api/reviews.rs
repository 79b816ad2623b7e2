//! Reviews of tokens and of access.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Whose tokens are, and what users may do.
#[derive(Debug, Default)]
pub(in crate::tests) struct Reviews {
    /// Users by token.
    pub(in crate::tests) tokens: BTreeMap<String, String>,
    /// User, verb and subresource of the Node `n1`.
    pub(in crate::tests) allowed: BTreeSet<String>,
}

impl Reviews {
    /// The review with its status.
    pub(super) fn answer(&self, review: &Value) -> Value {
        let spec = &review["spec"];
        let mut answer = review.clone();
        answer["status"] = match spec["token"].as_str() {
            Some(token) => match self.tokens.get(token) {
                Some(user) => json!({ "authenticated": true, "user": { "username": user } }),
                None => json!({ "authenticated": false, "error": "unknown token" }),
            },
            None => {
                let asked = &spec["resourceAttributes"];
                assert_eq!(asked["resource"], "nodes");
                assert_eq!(asked["name"], "n1");
                let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let parts = [&spec["user"], &asked["verb"], &asked["subresource"]].map(part);
                json!({ "allowed": self.allowed.contains(&parts.join(" ")) })
            }
        };
        answer
    }
}

//! A pod under a policy: whether it is refused, and what its user and the audit log are told.
//! Upstream: `Admission.EvaluatePod`.

use serde_json::Value;

use super::{LevelVersion, Policy, Violations, evaluate};
use crate::go_text::quote;

/// What a policy says about a pod or a pod template.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Why the pod is refused.
    pub refusal: Option<String>,
    /// The violation that the audit log records.
    pub audit: Option<String>,
    /// The warning for the user. A refused pod has none.
    pub warning: Option<String>,
}

/// Reviews a pod. A pod template, whose pods are reviewed when they are created, is not refused:
/// `enforces` is false.
#[must_use]
pub fn review(policy: &Policy, enforces: bool, pod: &Value) -> Review {
    let mut known: Vec<(LevelVersion, Violations)> = Vec::new();
    // A level and version is evaluated once, whichever modes have it.
    let mut text = |verb: &str, mode: LevelVersion| {
        let at = known.iter().position(|(known, _)| *known == mode);
        let at = at.unwrap_or_else(|| {
            known.push((mode, evaluate(mode, pod)));
            known.len() - 1
        });
        let (_, violations) = &known[at];
        (!violations.is_empty()).then(|| {
            let mode = quote(&mode.to_string());
            format!("{verb} PodSecurity {mode}: {}", violations.details())
        })
    };
    let refusal = enforces.then(|| text("violates", policy.enforce)).flatten();
    let audit = text("would violate", policy.audit);
    let warning = match refusal {
        Some(_) => None,
        None => text("would violate", policy.warn),
    };
    Review {
        refusal,
        audit,
        warning,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_mode_has_its_own_text_and_a_refused_pod_has_no_warning() {
        let label = |key: &str| match key.rsplit('/').next() {
            Some("enforce" | "audit") => Some("baseline"),
            Some("warn") => Some("restricted"),
            Some("audit-version") => Some("v1.0"),
            _ => None,
        };
        let (policy, _) = Policy::of_labels(label, &Policy::PRIVILEGED);
        let pod = json!({"spec": {
            "hostPID": true,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}},
            "containers": [{"name": "c", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        }});
        let text = |verb: &str, mode: &str| {
            let text = format!("{verb} PodSecurity \"{mode}\": host namespaces (hostPID=true)");
            Some(text)
        };
        let refused = Review {
            refusal: text("violates", "baseline:latest"),
            audit: text("would violate", "baseline:v1.0"),
            warning: None,
        };
        assert_eq!(review(&policy, true, &pod), refused);
        let warned = Review {
            refusal: None,
            warning: text("would violate", "restricted:latest"),
            ..refused
        };
        assert_eq!(review(&policy, false, &pod), warned);
        let everything = review(&Policy::PRIVILEGED, true, &pod);
        assert_eq!(everything, Review::default());
    }
}

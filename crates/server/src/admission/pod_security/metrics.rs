//! What the plugin counts, under upstream's names and with its labels. Upstream:
//! `k8s.io/pod-security-admission/metrics`.

use pandaemon_machinery::pod_security::{Level, LevelVersion, Version};
use pandaemon_runtime::metrics::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use crate::admission::{Operation, plugin::Attributes};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    request_operation: &'static str,
    resource: &'static str,
    subresource: String,
}

impl RequestLabels {
    fn of(attributes: &Attributes<'_>) -> Self {
        Self {
            request_operation: match attributes.operation {
                Operation::Create => "create",
                Operation::Update => "update",
                Operation::Delete => "delete",
                Operation::Connect => "connect",
            },
            resource: match attributes.kind.plural.as_str() {
                "pods" => "pod",
                "namespaces" => "namespace",
                _ => "controller",
            },
            subresource: attributes.subresource.to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvaluationLabels {
    decision: &'static str,
    policy_level: String,
    policy_version: String,
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    fatal: &'static str,
}

/// The counters. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct PodSecurityMetrics {
    evaluations: Family<(EvaluationLabels, RequestLabels), Counter>,
    exemptions: Family<RequestLabels, Counter>,
    errors: Family<(ErrorLabels, RequestLabels), Counter>,
}

/// Whether a policy allows a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Deny,
}

impl PodSecurityMetrics {
    /// Registers new counters.
    pub(super) fn new(registry: &Metrics) -> Self {
        let new = Self::default();
        registry.with(|registry| {
            registry.register(
                "pod_security_evaluations",
                "Policy evaluations, without those of ignored or exempt requests",
                new.evaluations.clone(),
            );
            registry.register(
                "pod_security_exemptions",
                "Exempt requests",
                new.exemptions.clone(),
            );
            registry.register(
                "pod_security_errors",
                "Errors that prevented a normal evaluation",
                new.errors.clone(),
            );
        });
        new
    }

    /// Counts an evaluation. Upstream: `RecordEvaluation`.
    pub(super) fn evaluation(
        &self,
        attributes: &Attributes<'_>,
        mode: &'static str,
        policy: LevelVersion,
        verdict: Verdict,
    ) {
        let LevelVersion { level, version } = policy;
        let labels = EvaluationLabels {
            decision: match verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            },
            policy_level: level.to_string(),
            // What allows everything does so in each version, and any version may be asked for.
            policy_version: match version {
                _ if level == Level::Privileged => Version::Latest.to_string(),
                version if version.is_future() => "future".to_owned(),
                version => version.to_string(),
            },
            mode,
        };
        let labels = (labels, RequestLabels::of(attributes));
        attributes.count(self.evaluations.get_or_create(&labels).clone());
    }

    /// Counts an exemption. Upstream: `RecordExemption`.
    pub(super) fn exemption(&self, attributes: &Attributes<'_>) {
        let labels = RequestLabels::of(attributes);
        attributes.count(self.exemptions.get_or_create(&labels).clone());
    }

    /// Counts an error: one that is fatal prevents the evaluation. Upstream: `RecordError`.
    pub(super) fn error(&self, attributes: &Attributes<'_>, is_fatal: bool) {
        let fatal = if is_fatal { "true" } else { "false" };
        let labels = (ErrorLabels { fatal }, RequestLabels::of(attributes));
        attributes.count(self.errors.get_or_create(&labels).clone());
    }
}

//! `PodSecurity`: pods keep to the Pod Security Standard that their namespace asks for by labels.

mod existing_pods;
mod metrics;

use std::time::Instant;

use futures::future::BoxFuture;
use pandaemon_machinery::{
    Status,
    pod_security::{Configuration, LevelVersion, Policy, review},
    status::Result,
    validation::FieldError,
};
use pandaemon_runtime::metrics::Metrics;
use pandaemon_types::Labels as _;
use serde_json::Value;

use self::{
    existing_pods::ExistingPods,
    metrics::{PodSecurityMetrics, Verdict},
};
use super::{
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};
use crate::registry::meta;

/// The name of the plugin.
pub(super) const POD_SECURITY: &str = "PodSecurity";

/// Pods, and the subresources by which what they may do can be changed.
const PODS: [&str; 3] = ["pods", "pods/ephemeralcontainers", "pods/resize"];

/// The fields of pods that the checks look at. What DaemonSet pods differ in is not among them, so
/// that they can be created from a template.
const FIELDS: [&str; 12] = [
    "/metadata/annotations",
    "/spec/containers",
    "/spec/ephemeralContainers",
    "/spec/hostIPC",
    "/spec/hostNetwork",
    "/spec/hostPID",
    "/spec/hostUsers",
    "/spec/initContainers",
    "/spec/os",
    "/spec/runtimeClassName",
    "/spec/securityContext",
    "/spec/volumes",
];

/// Kinds with a pod template: group, resource, and where the template is. Users are warned of it;
/// its pods are checked when they are created.
const CONTROLLERS: [(&str, &str, &str); 8] = [
    ("", "replicationcontrollers", "/spec/template"),
    ("", "podtemplates", "/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("batch", "jobs", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
];

/// Why a request was not checked.
const EXEMPT: &str = "pod-security.kubernetes.io/exempt";
/// The level and version that is enforced.
const ENFORCE_POLICY: &str = "pod-security.kubernetes.io/enforce-policy";
/// What violates the level that is audited.
const AUDIT_VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";
/// What could not be read.
const ERROR: &str = "pod-security.kubernetes.io/error";

/// A policy, and what is wrong with the labels that it comes from.
type Read = (Policy, Vec<FieldError>);

#[derive(Debug)]
pub(super) struct PodSecurity {
    configuration: Configuration,
    metrics: PodSecurityMetrics,
}

impl PodSecurity {
    pub(super) fn new(configuration: Configuration, metrics: &Metrics) -> Self {
        Self {
            configuration,
            metrics: PodSecurityMetrics::new(metrics),
        }
    }
}

impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        POD_SECURITY
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = |group: &str, resources: &[&str]| {
            let writes = [Operation::Create, Operation::Update];
            Rule::new(&writes, group, resources).writes(&[])
        };
        let pods = rule("", &PODS).reads(&FIELDS).looks_up("", "namespaces");
        let namespaces = rule("", &["namespaces"])
            .reads(&["/metadata/labels"])
            .looks_up("", "pods");
        let controllers = CONTROLLERS.iter().map(|(group, resource, template)| {
            let rule = rule(group, &[resource]).reads(&[template]);
            rule.looks_up("", "namespaces")
        });
        [pods, namespaces].into_iter().chain(controllers).collect()
    }

    fn validate<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        match attributes.kind.plural.as_str() {
            "namespaces" => self.check_namespace(attributes, object),
            "pods" => done(self.check_pod(&attributes, object)),
            _ => {
                self.look_at_template(&attributes, object);
                done(Ok(()))
            }
        }
    }
}

impl PodSecurity {
    /// The policy of a namespace that is stored; `None` if it does not exist.
    fn policy(&self, attributes: &Attributes<'_>) -> Result<Option<Read>> {
        let found = attributes.find("", "namespaces", "", attributes.namespace)?;
        let defaults = &self.configuration.defaults;
        Ok(found.map(|namespace| Policy::of_labels(|key| namespace.label(key), defaults)))
    }

    /// The policy of a namespace that is written.
    fn policy_of(&self, namespace: &Value) -> Read {
        Policy::of_labels(|key| label(namespace, key), &self.configuration.defaults)
    }

    fn exempts_namespace(&self, name: &str) -> bool {
        let exempt = &self.configuration.exemptions.namespaces;
        exempt.iter().any(|exempt| exempt == name)
    }

    /// Whether the namespace or the user is exempt.
    fn exempts(&self, attributes: &Attributes<'_>) -> bool {
        let users = &self.configuration.exemptions.usernames;
        let why = if self.exempts_namespace(attributes.namespace) {
            "namespace"
        } else if users.contains(&attributes.user.name) {
            "user"
        } else {
            return false;
        };
        self.metrics.exemption(attributes);
        attributes.annotate(EXEMPT, why);
        true
    }

    /// Upstream: `ValidatePod`.
    fn check_pod(&self, attributes: &Attributes<'_>, pod: &Value) -> Result<()> {
        if self.exempts(attributes) {
            return Ok(());
        }
        let Some((policy, errors)) = self.policy(attributes)? else {
            let why = format!("failed to lookup namespace {:?}", attributes.namespace);
            self.metrics.error(attributes, true);
            attributes.annotate(ERROR, &why);
            return Err(Status::internal(why));
        };
        if errors.is_empty() && policy.is_privileged() {
            let metrics = &self.metrics;
            metrics.evaluation(attributes, "enforce", policy.enforce, Verdict::Allow);
            attributes.annotate(ENFORCE_POLICY, &LevelVersion::PRIVILEGED.to_string());
            return Ok(());
        }
        let old = attributes.old_object;
        if old.is_some_and(|old| !is_significant_update(old, pod)) {
            return Ok(());
        }
        self.review(attributes, &(policy, errors), true, pod)
    }

    /// Warns of a pod template. Upstream: `ValidatePodController`.
    fn look_at_template(&self, attributes: &Attributes<'_>, object: &Value) {
        if self.exempts(attributes) {
            return;
        }
        let Ok(Some((policy, errors))) = self.policy(attributes) else {
            let why = format!("failed to lookup namespace {:?}", attributes.namespace);
            self.metrics.error(attributes, true);
            return attributes.annotate(ERROR, &why);
        };
        let is_quiet = Policy {
            enforce: LevelVersion::PRIVILEGED,
            ..policy
        }
        .is_privileged();
        if errors.is_empty() && is_quiet {
            return;
        }
        let kind = attributes.kind;
        let mut controllers = CONTROLLERS.iter();
        let found = controllers
            .find(|(group, resource, _)| kind.plural == *resource && kind.group == *group);
        let template = found.and_then(|(_, _, template)| object.pointer(template));
        if let Some(template) = template.filter(|template| !template.is_null()) {
            // Nothing is refused that is not enforced.
            let _allowed = self.review(attributes, &(policy, errors), false, template);
        }
    }

    /// Upstream: `EvaluatePod`.
    fn review(
        &self,
        attributes: &Attributes<'_>,
        (policy, errors): &Read,
        enforces: bool,
        pod: &Value,
    ) -> Result<()> {
        let class = meta::text_at(pod, &["spec", "runtimeClassName"]);
        if self.configuration.exemptions.exempts_runtime_class(class) {
            self.metrics.exemption(attributes);
            attributes.annotate(EXEMPT, "runtimeClass");
            return Ok(());
        }
        if !errors.is_empty() {
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let why = format!("Failed to parse policy: {}", texts.join(", "));
            self.metrics.error(attributes, false);
            attributes.annotate(ERROR, &why);
        }
        if enforces {
            attributes.annotate(ENFORCE_POLICY, &policy.enforce.to_string());
        }
        let review = review(policy, enforces, pod);
        let count = |mode, policy, verdict| {
            let metrics = &self.metrics;
            metrics.evaluation(attributes, mode, policy, verdict);
        };
        if enforces {
            let verdict = match review.refusal {
                Some(_) => Verdict::Deny,
                None => Verdict::Allow,
            };
            count("enforce", policy.enforce, verdict);
        }
        // Of these modes upstream counts violations only.
        if let Some(violations) = review.audit {
            count("audit", policy.audit, Verdict::Deny);
            attributes.annotate(AUDIT_VIOLATIONS, &violations);
        }
        if let Some(warning) = review.warning {
            count("warn", policy.warn, Verdict::Deny);
            attributes.add_warning(warning);
        }
        let refusal = review.refusal;
        refusal.map_or(Ok(()), |why| Err(attributes.forbidden(&why)))
    }

    /// Checks the labels of a namespace, and warns of what they do to it. Upstream:
    /// `ValidateNamespace`.
    fn check_namespace<'a>(
        &'a self,
        attributes: Attributes<'a>,
        namespace: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        let (policy, errors) = self.policy_of(namespace);
        let old = attributes.old_object.map(|old| self.policy_of(old));
        // Labels that were wrong before do not get in the way of other changes.
        let known = old.as_ref().map_or(&[][..], |(_, errors)| errors);
        if !errors.is_empty() && errors != known {
            let (kind, name) = (attributes.kind, attributes.name);
            return done(Err(Status::invalid(kind, name, &errors)));
        }
        let is_stricter = old
            .as_ref()
            .is_none_or(|(old, _)| policy.enforce.may_forbid_more_than(&old.enforce));
        if self.exempts_namespace(attributes.name) && is_stricter {
            let defaults = &self.configuration.defaults;
            let labels = |key: &str| label(namespace, key);
            let warning = policy.exemption_warning(attributes.name, labels, defaults);
            if let Some(warning) = warning {
                attributes.add_warning(warning);
            }
        } else if old.is_some() && is_stricter {
            return Box::pin(self.warn_of_existing_pods(attributes, policy.enforce));
        }
        done(Ok(()))
    }

    async fn warn_of_existing_pods(
        &self,
        attributes: Attributes<'_>,
        enforce: LevelVersion,
    ) -> Result<()> {
        let namespace = attributes.name;
        let pods = attributes.list("", "pods")?;
        let pods = pods.filter(|pod| pod.namespace() == namespace).collect();
        let existing = ExistingPods {
            namespace,
            enforce,
            exemptions: &self.configuration.exemptions,
            max_pods: existing_pods::MAX_PODS,
        };
        let deadline = Instant::now() + existing_pods::TIMEOUT;
        let expired = || Instant::now() >= deadline;
        for warning in existing.warnings(pods, expired).await {
            attributes.add_warning(warning);
        }
        Ok(())
    }
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    let labels = meta::of(object)?.get("labels")?;
    labels.get(key)?.as_str()
}

fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let items = meta::at(pod, &["spec", list]).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// Whether an update may change what a pod does: another image or another container. Upstream:
/// `isSignificantPodUpdate`.
fn is_significant_update(old: &Value, new: &Value) -> bool {
    let is_changed = |list| {
        let images = |pod| containers(pod, list).map(|container| &container["image"]);
        !images(old).eq(images(new))
    };
    let is_known = |new: &Value| {
        let mut known = containers(old, "ephemeralContainers");
        known.any(|old| old["name"] == new["name"] && old["image"] == new["image"])
    };
    is_changed("containers")
        || is_changed("initContainers")
        || !containers(new, "ephemeralContainers").all(is_known)
}

#[cfg(test)]
mod tests {
    use pandaemon_machinery::scheme;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::{
        super::{counted::Counted, plugin::Cluster},
        *,
    };
    use crate::{audit::Annotations, auth::User, cache::watch_cache::WatchCache};

    /// The code with which the plugin refuses a write; `rule` is the place of what is written among
    /// those that it is about.
    fn refused(
        plugin: &PodSecurity,
        rule: usize,
        (operation, resource, namespace): (Operation, &str, &str),
        old: Option<&Value>,
        new: &Value,
    ) -> Option<u16> {
        let kind = scheme::built_in().find_resource("", "v1", resource);
        let attributes = Attributes {
            operation,
            kind: kind.unwrap(),
            namespace,
            name: "n",
            subresource: "",
            user: &User::admin(),
            old_object: old,
            dry_run: false,
            plugin: POD_SECURITY,
            rule: &plugin.rules()[rule],
            cluster: Cluster {
                scheme: scheme::built_in(),
                cache: &WatchCache::new(1),
            },
            warnings: &Mutex::default(),
            annotations: &Annotations::default(),
            counted: &Counted::default(),
            authorizers: None,
        };
        let outcome = futures::executor::block_on(plugin.validate(attributes, new));
        outcome.err().map(|status| status.code)
    }

    /// The code with which a change of the labels of a namespace is refused.
    fn refused_labels(old: &Value, new: &Value) -> Option<u16> {
        let plugin = PodSecurity::new(Configuration::default(), &Metrics::default());
        let [old, new] = [old, new].map(|labels| json!({"metadata": {"labels": labels}}));
        let what = (Operation::Update, "namespaces", "");
        refused(&plugin, 1, what, Some(&old), &new)
    }

    #[test]
    fn a_pod_whose_namespace_is_not_found_counts_as_a_fatal_error() {
        let registry = Metrics::default();
        let plugin = PodSecurity::new(Configuration::default(), &registry);
        let pod = json!({"spec": {"containers": []}});
        let what = (Operation::Create, "pods", "n");
        assert_eq!(refused(&plugin, 0, what, None, &pod), Some(500));
        let line = "pod_security_errors_total{fatal=\"true\",request_operation=\"create\",resource=\"pod\",\
                    subresource=\"\"} 1";
        let text = registry.render().unwrap();
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn labels_that_were_wrong_before_are_no_obstacle() {
        let wrong = json!({"pod-security.kubernetes.io/enforce": "strict"});
        let mut more = wrong.clone();
        more["a"] = "b".into();
        assert_eq!(refused_labels(&wrong, &more), None);
        more["pod-security.kubernetes.io/warn"] = "loud".into();
        assert_eq!(refused_labels(&wrong, &more), Some(422));
        assert_eq!(refused_labels(&json!({}), &wrong), Some(422));
        assert_eq!(refused_labels(&wrong, &json!({})), None);
    }

    #[test]
    fn an_update_is_significant_if_an_image_or_a_container_is_new() {
        let old = json!({"spec": {
            "initContainers": [{"name": "i", "image": "1"}],
            "containers": [{"name": "a", "image": "1"}],
            "ephemeralContainers": [{"name": "e", "image": "1"}, {"name": "f", "image": "1"}],
        }});
        for (pointer, value, expected) in [
            ("/spec", old["spec"].clone(), false),
            ("/spec/tolerations", json!([{"operator": "Exists"}]), false),
            (
                "/spec/containers",
                json!([{"name": "b", "image": "1"}]),
                false,
            ),
            (
                "/spec/containers",
                json!([{"name": "a", "image": "2"}]),
                true,
            ),
            ("/spec/initContainers", json!([]), true),
            (
                "/spec/initContainers",
                json!([{"name": "i", "image": "2"}]),
                true,
            ),
            (
                "/spec/ephemeralContainers",
                json!([{"name": "f", "image": "1"}]),
                false,
            ),
            (
                "/spec/ephemeralContainers",
                json!([{"name": "f", "image": "2"}]),
                true,
            ),
            (
                "/spec/ephemeralContainers",
                json!([{"name": "g", "image": "1"}]),
                true,
            ),
        ] {
            let mut new = old.clone();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            new.pointer_mut(parent).unwrap()[field] = value;
            assert_eq!(
                is_significant_update(&old, &new),
                expected,
                "{pointer} {new}"
            );
        }
    }
}

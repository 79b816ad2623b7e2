//! The hostile requests. Each body is within the server's limit of 3 MiB.

mod metadata;
mod nodes;
mod patches;
mod pods;
mod rights;
mod services;
mod syntax;

/// The namespace of the objects.
pub(super) const NAMESPACE: &str = "hostile";
/// The user without the administrator's rights: it may write roles.
pub(super) const USER: &str = "hostile";

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

const MAPS: &str = "/api/v1/namespaces/hostile/configmaps";
const MAP: &str = "/api/v1/namespaces/hostile/configmaps/hostile";
const PODS: &str = "/api/v1/namespaces/hostile/pods";
const POD: &str = "/api/v1/namespaces/hostile/pods/hostile";
const SECRETS: &str = "/api/v1/namespaces/hostile/secrets";
const SETS: &str = "/apis/apps/v1/namespaces/hostile/daemonsets";
const SET: &str = "/apis/apps/v1/namespaces/hostile/daemonsets/hostile";
const NODES: &str = "/api/v1/nodes";
const NODE: &str = "/api/v1/nodes/hostile";

/// Method, path and body of an HTTP request.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) method: &'static str,
    /// Path and query.
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Whether it is sent as [`USER`] instead of the administrator.
    pub(super) as_user: bool,
}

impl Call {
    pub(super) fn new(
        method: &'static str,
        path: impl Into<String>,
        content_type: &'static str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            content_type,
            body: body.into(),
            as_user: false,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path, JSON, Vec::new())
    }

    pub(super) fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path, JSON, body)
    }

    fn put(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("PUT", path, JSON, body)
    }

    fn patch(path: &str, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("PATCH", path, content_type, body)
    }
}

/// A hostile request, and what it needs.
#[derive(Debug)]
pub struct Plan {
    /// Requests that prepare it; not measured.
    pub(super) setup: Vec<Call>,
    /// The request that is measured.
    pub(super) call: Call,
    /// The objects to delete afterwards, if they exist.
    pub(super) created: Vec<&'static str>,
}

impl Plan {
    fn of(call: Call) -> Self {
        Self {
            setup: Vec::new(),
            call,
            created: Vec::new(),
        }
    }

    fn after(mut self, setup: Call) -> Self {
        self.setup.push(setup);
        self
    }

    fn creates(mut self, object: &'static str) -> Self {
        self.created.push(object);
        self
    }

    fn by_user(mut self) -> Self {
        self.call.as_user = true;
        self
    }
}

/// `count` texts made by a function of their number, with commas between them.
fn list(count: usize, text: impl Fn(usize) -> String) -> String {
    let texts: Vec<String> = (0..count).map(text).collect();
    texts.join(",")
}

/// The body of an object with this name, and these members beside its metadata.
fn named(members: &str) -> String {
    format!(r#"{{"metadata":{{"name":"hostile"}},{members}}}"#)
}

/// A request and its name.
type Named = (&'static str, fn() -> Plan);

/// The requests, by name.
pub const REQUESTS: &[Named] = &[
    ("20,000 owner references", metadata::owners),
    ("20,000 Events as owners", metadata::events_as_owners),
    ("45,000 empty owner references", metadata::empty_owners),
    (
        "100,000 empty managedFields entries",
        metadata::managed_fields_entries,
    ),
    ("fieldsV1 of 220,000 fields", metadata::wide_fields_v1),
    ("fieldsV1 of 10,000 levels", metadata::deep_fields_v1),
    ("80,000 labels with wrong names", metadata::labels),
    ("80,000 annotations with wrong names", metadata::annotations),
    ("100,000 finalizers", metadata::finalizers),
    ("a name of 3 MB", metadata::name),
    ("200,000 keys", syntax::keys),
    ("200,000 wrong keys", syntax::wrong_keys),
    ("one key 200,000 times", syntax::duplicate_keys),
    (
        "200,000 unknown fields, strict",
        syntax::unknown_fields_strict,
    ),
    ("200,000 unknown fields, warned of", syntax::unknown_fields),
    ("1,000,000 lists in lists", syntax::deep),
    ("1,000,000 empty lists", syntax::empty_lists),
    ("350,000 small objects", syntax::small_objects),
    ("a number of 1 MB", syntax::number),
    ("3 MB of escapes", syntax::escapes),
    ("YAML aliases of aliases", syntax::yaml_aliases),
    ("YAML of 500,000 levels", syntax::yaml_deep),
    ("YAML of 700,000 items", syntax::yaml_items),
    (
        "protobuf of 1,500,000 containers",
        syntax::protobuf_containers,
    ),
    ("protobuf of 1,000 levels", syntax::protobuf_deep),
    ("a Docker config of 250,000 objects", syntax::docker_config),
    ("45,000 containers", pods::containers),
    ("1,000,000 empty containers", pods::empty_containers),
    ("40,000 variables of one name", pods::variables),
    ("24,000 volumes of one name", pods::volumes),
    ("40,000 mounts of one path", pods::mounts),
    ("45,000 ports of one number", pods::ports),
    ("45,000 equal spread constraints", pods::spread),
    ("a quantity of 1 MB", pods::quantity),
    ("45,000 sysctls of one name", pods::sysctls),
    ("DaemonSet with 45,000 tolerations", pods::tolerations),
    ("DaemonSet with 45,000 selector terms", pods::selector_terms),
    (
        "DaemonSet with 100,000 selector labels",
        pods::selector_labels,
    ),
    ("DaemonSet with 24,000 affinity terms", pods::affinity),
    ("node status with 20,000 images", nodes::images),
    ("node status with 30,000 conditions", nodes::conditions),
    ("node status with 45,000 addresses", nodes::addresses),
    ("node with 45,000 taints", nodes::taints),
    ("node with 100,000 pod CIDRs", nodes::cidrs),
    ("JSON patch of 10,000 copies", patches::copies),
    (
        "JSON patch of 10,000 copies of a large object",
        patches::large_copies,
    ),
    ("JSON patch of 10,000 moves", patches::moves),
    ("JSON patch of 10,000 tests", patches::tests),
    (
        "strategic patch of 30,000 variables",
        patches::strategic_variables,
    ),
    (
        "strategic patch, the order of 45,000",
        patches::strategic_order,
    ),
    ("strategic patch, 150,000 $retainKeys", patches::retain_keys),
    (
        "strategic patch, 150,000 values to delete",
        patches::delete_values,
    ),
    ("merge patch of 200,000 keys", patches::merge_keys),
    (
        "a patch of 200,000 unknown fields, strict",
        patches::unknown_fields,
    ),
    ("apply of 20,000 other variables", patches::apply_variables),
    ("apply of 40,000 equal variables", patches::apply_duplicates),
    ("apply with 40,000 conflicts", patches::conflicts),
    ("Role with 45,000 rules", rights::rules),
    (
        "Role with 60 rules of 10,000 combinations",
        rights::combinations,
    ),
    (
        "ClusterRole that aggregates by 20,000 selectors",
        rights::aggregation,
    ),
    ("RoleBinding with 30,000 subjects", rights::subjects),
    (
        "SubjectAccessReview with 100,000 groups",
        rights::access_review,
    ),
    (
        "SelfSubjectRulesReview of 12,000 rules",
        rights::rules_review,
    ),
    ("TokenReview of 3 MB", rights::token_review),
    ("certificate request of 2 MB", rights::certificate),
    ("Service with 40,000 ports", services::ports),
    ("Service with 40,000 source ranges", services::source_ranges),
    ("EndpointSlice with 40,000 endpoints", services::endpoints),
    ("EndpointSlice with 45,000 ports", services::slice_ports),
    ("Event with a message of 3 MB", services::event),
    ("label selector of 60 kB", services::label_selector),
    ("field selector of 60 kB", services::field_selector),
    ("20,000 query parameters", services::query),
    ("a namespace of 60 kB", services::namespace),
    (
        "deletion of a collection with 250,000 objects in its options",
        services::deletion,
    ),
    ("binding with 80,000 annotations", services::binding),
];

//! The catalogue of kinds that this server serves.
//!
//! One static table says what is fixed about a kind: discovery, routing, field selectors and storage read it.
//! The code generator reads this file too (it includes it as a module), so nothing here may name the rest of the crate.

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One for the whole cluster.
    Cluster,
    /// Inside a namespace.
    Namespaced,
}

/// A subresource such as `status`, `log`, `exec`, `binding`, `eviction`.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    /// Path segment.
    pub name: &'static str,
    /// Group of the kind it answers with, empty for the core group.
    pub group: &'static str,
    /// Version of the kind it answers with.
    pub version: &'static str,
    /// The kind it answers with.
    pub kind: &'static str,
    /// Verbs as discovery lists them.
    pub verbs: &'static [&'static str],
}

/// One kind in one version: everything that is static about it.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// API version, such as `v1`.
    pub version: &'static str,
    /// `DaemonSet`
    pub kind: &'static str,
    /// `DaemonSetList`
    pub list_kind: &'static str,
    /// `daemonsets`
    pub plural: &'static str,
    /// `daemonset`
    pub singular: &'static str,
    /// Namespaced or cluster-wide.
    pub scope: Scope,
    /// `ds`
    pub short_names: &'static [&'static str],
    /// `all`
    pub categories: &'static [&'static str],
    /// Verbs as discovery lists them, sorted.
    pub verbs: &'static [&'static str],
    /// Subresources, `status` included.
    pub subresources: &'static [Subresource],
    /// Name of the type in the field tables, such as `io.k8s.api.apps.v1.DaemonSet`.
    pub type_name: &'static str,
    /// The storage kind: two kinds with the same `storage` share their objects
    /// (`events` of the core group and of `events.k8s.io`). `group/plural` otherwise.
    pub storage: &'static str,
    /// Fields that a field selector may name, beside `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [&'static str],
    /// Whether `metadata.generation` counts changes of the spec.
    pub has_generation: bool,
}

impl Kind {
    /// `apps/v1`, or `v1` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `daemonsets.apps`, or `pods`: the resource as error texts name it.
    #[must_use]
    pub fn qualified_resource(&self) -> String {
        qualify(self.plural, self.group)
    }

    /// `DaemonSet.apps`, or `Pod`: the kind as error texts name it.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        qualify(self.kind, self.group)
    }

    /// Whether objects live in a namespace.
    #[must_use]
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The subresource of that name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

/// All kinds, in the order of discovery.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    KINDS
}

/// Kinds that are only bodies of subresources or options of a request; they have no path of their own.
#[must_use]
pub fn body_kinds() -> &'static [Kind] {
    BODY_KINDS
}

/// Finds a kind by its resource path.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    kinds()
        .iter()
        .find(|k| k.group == group && k.version == version && k.plural == plural)
}

/// Finds a kind by its name, the kinds that are only bodies included.
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    kinds()
        .iter()
        .chain(body_kinds())
        .find(|k| k.group == group && k.version == version && k.kind == kind)
}

/// The served `(group, version)` pairs, in the order of discovery.
#[must_use]
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for kind in kinds() {
        if !found.contains(&(kind.group, kind.version)) {
            found.push((kind.group, kind.version));
        }
    }
    found
}

const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const CREATE: &[&str] = &["create"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];

/// What most kinds have.
const BASE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    list_kind: "",
    plural: "",
    singular: "",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: ALL,
    subresources: &[],
    type_name: "",
    storage: "",
    selectable: &[],
    has_generation: false,
};

/// A kind, with the names that follow from its own name. Fields after the names replace those of [`BASE`].
macro_rules! kind {
    ($package:literal, $kind:literal, $plural:literal, $singular:literal
     $(, $field:ident: $value:expr)* $(,)?) => {
        Kind {
            kind: $kind,
            list_kind: concat!($kind, "List"),
            plural: $plural,
            singular: $singular,
            type_name: concat!("io.k8s.api.", $package, ".v1.", $kind),
            $($field: $value,)*
            ..BASE
        }
    };
}

const fn sub(
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource {
        name,
        group: "",
        version: "v1",
        kind,
        verbs,
    }
}

const NAMESPACE: Kind = kind!("core", "Namespace", "namespaces", "namespace",
    storage: "namespaces",
    scope: Scope::Cluster,
    short_names: &["ns"],
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: &[sub("finalize", "Namespace", &["update"]), sub("status", "Namespace", READ_WRITE)],
    selectable: &["status.phase"],
);

const NODE: Kind = kind!("core", "Node", "nodes", "node",
    storage: "nodes",
    scope: Scope::Cluster,
    short_names: &["no"],
    subresources: &[
        sub("proxy", "NodeProxyOptions", &["create", "delete", "get", "patch", "update"]),
        sub("status", "Node", READ_WRITE),
    ],
    selectable: &["spec.unschedulable"],
);

const POD: Kind = kind!("core", "Pod", "pods", "pod",
    storage: "pods",
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        sub("attach", "PodAttachOptions", &["create", "get"]),
        sub("binding", "Binding", CREATE),
        sub("ephemeralcontainers", "Pod", READ_WRITE),
        Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: CREATE },
        sub("exec", "PodExecOptions", &["create", "get"]),
        sub("log", "Pod", &["get"]),
        sub("portforward", "PodPortForwardOptions", &["create", "get"]),
        sub("status", "Pod", READ_WRITE),
    ],
    selectable: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.nominatedNodeName",
        "status.phase",
        "status.podIP",
        "status.podIPs",
    ],
);

const EVENT: Kind = kind!("core", "Event", "events", "event",
    storage: "events",
    short_names: &["ev"],
    selectable: &[
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.resourceVersion",
        "involvedObject.uid",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
);

const EVENTS_EVENT: Kind = kind!("events", "Event", "events", "event",
    group: "events.k8s.io",
    storage: "events",
    short_names: &["ev"],
    selectable: &[
        "reason",
        "regarding.apiVersion",
        "regarding.fieldPath",
        "regarding.kind",
        "regarding.name",
        "regarding.namespace",
        "regarding.resourceVersion",
        "regarding.uid",
        "reportingController",
        "type",
    ],
);

const SERVICE_ACCOUNT: Kind = kind!("core", "ServiceAccount", "serviceaccounts", "serviceaccount",
    storage: "serviceaccounts",
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token", group: "authentication.k8s.io", version: "v1", kind: "TokenRequest", verbs: CREATE,
    }],
);

const SERVICE: Kind = kind!("core", "Service", "services", "service",
    storage: "services",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[sub("status", "Service", READ_WRITE)],
    selectable: &["spec.clusterIP", "spec.type"],
);

const DAEMON_SET: Kind = kind!("apps", "DaemonSet", "daemonsets", "daemonset",
    group: "apps",
    storage: "apps/daemonsets",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[Subresource { name: "status", group: "apps", version: "v1", kind: "DaemonSet", verbs: READ_WRITE }],
    has_generation: true,
);

static KINDS: &[Kind] = &[
    kind!("core", "Binding", "bindings", "binding", storage: "bindings", verbs: CREATE),
    kind!("core", "ConfigMap", "configmaps", "configmap", storage: "configmaps", short_names: &["cm"]),
    kind!("core", "Endpoints", "endpoints", "endpoints", storage: "endpoints", short_names: &["ep"]),
    EVENT,
    NAMESPACE,
    NODE,
    POD,
    kind!("core", "Secret", "secrets", "secret", storage: "secrets", selectable: &["type"]),
    SERVICE_ACCOUNT,
    SERVICE,
    kind!("apps", "ControllerRevision", "controllerrevisions", "controllerrevision",
        group: "apps", storage: "apps/controllerrevisions"),
    DAEMON_SET,
    EVENTS_EVENT,
    kind!("authentication", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview",
        group: "authentication.k8s.io", storage: "authentication.k8s.io/selfsubjectreviews",
        scope: Scope::Cluster, verbs: CREATE),
    kind!("authentication", "TokenReview", "tokenreviews", "tokenreview",
        group: "authentication.k8s.io", storage: "authentication.k8s.io/tokenreviews",
        scope: Scope::Cluster, verbs: CREATE),
    kind!("authorization", "LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview",
        group: "authorization.k8s.io", storage: "authorization.k8s.io/localsubjectaccessreviews", verbs: CREATE),
    kind!("authorization", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview",
        group: "authorization.k8s.io", storage: "authorization.k8s.io/selfsubjectaccessreviews",
        scope: Scope::Cluster, verbs: CREATE),
    kind!("authorization", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview",
        group: "authorization.k8s.io", storage: "authorization.k8s.io/selfsubjectrulesreviews",
        scope: Scope::Cluster, verbs: CREATE),
    kind!("authorization", "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview",
        group: "authorization.k8s.io", storage: "authorization.k8s.io/subjectaccessreviews",
        scope: Scope::Cluster, verbs: CREATE),
    kind!("scheduling", "PriorityClass", "priorityclasses", "priorityclass",
        group: "scheduling.k8s.io", storage: "scheduling.k8s.io/priorityclasses",
        scope: Scope::Cluster, short_names: &["pc"], has_generation: true),
    kind!("coordination", "Lease", "leases", "lease",
        group: "coordination.k8s.io", storage: "coordination.k8s.io/leases"),
    kind!("discovery", "EndpointSlice", "endpointslices", "endpointslice",
        group: "discovery.k8s.io", storage: "discovery.k8s.io/endpointslices", has_generation: true),
];

static BODY_KINDS: &[Kind] = &[
    kind!("policy", "Eviction", "evictions", "eviction", group: "policy", verbs: CREATE),
    kind!("policy", "Eviction", "evictions", "eviction", group: "policy", version: "v1beta1", verbs: CREATE),
    kind!("authentication", "TokenRequest", "tokenrequests", "tokenrequest",
        group: "authentication.k8s.io", verbs: CREATE),
    Kind {
        kind: "DeleteOptions",
        type_name: "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
        scope: Scope::Cluster,
        verbs: &[],
        ..BASE
    },
];

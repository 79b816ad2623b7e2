//! The kinds that the server serves, and their resources: the part of upstream's `runtime.Scheme`
//! and `meta.RESTMapper` that is fixed when the server starts.
//!
//! Discovery, routing, field selectors and storage read this table. The code generator includes
//! this file as a module of its own, so nothing here may use the rest of the crate.

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Names are unique in the cluster.
    Cluster,
    /// Names are unique in a namespace.
    Namespaced,
}

/// A subresource such as `status`, `log`, `exec`, `binding`, `eviction`.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    /// Last segment of its path.
    pub name: &'static str,
    /// API group of the kind of its bodies, empty for the core group.
    pub group: &'static str,
    /// API version of the kind of its bodies.
    pub version: &'static str,
    /// The kind of its bodies.
    pub kind: &'static str,
    /// Verbs as discovery lists them, sorted.
    pub verbs: &'static [&'static str],
}

/// One kind in one API version, with its resource.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// API version, such as `v1`.
    pub version: &'static str,
    /// The kind, such as `DaemonSet`.
    pub kind: &'static str,
    /// The kind of its lists, such as `DaemonSetList`.
    pub list_kind: &'static str,
    /// The resource, such as `daemonsets`.
    pub plural: &'static str,
    /// The resource in the singular, such as `daemonset`.
    pub singular: &'static str,
    /// Whether objects live in a namespace.
    pub scope: Scope,
    /// Short names that kubectl accepts for the resource, such as `ds`.
    pub short_names: &'static [&'static str],
    /// Groups of resources that kubectl expands, such as `all`.
    pub categories: &'static [&'static str],
    /// Verbs as discovery lists them, sorted.
    pub verbs: &'static [&'static str],
    /// Subresources with `status`, sorted by name.
    pub subresources: &'static [Subresource],
    /// Name of the type in the field tables, such as `io.k8s.api.apps.v1.DaemonSet`.
    pub type_name: &'static str,
    /// Prefix of the storage keys: `plural` in the core group, `group/plural` in the others. Kinds
    /// with the same prefix share their objects (`events` of the core group and of
    /// `events.k8s.io`). Empty for kinds that are not stored.
    pub storage: &'static str,
    /// Fields that a field selector may name beside `metadata.name` and `metadata.namespace`,
    /// sorted.
    pub selectable_fields: &'static [&'static str],
    /// Whether `metadata.generation` counts the changes of the spec.
    pub has_generation: bool,
}

impl Kind {
    /// The `apiVersion` of its objects: `apps/v1`, or `v1` in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The resource as error texts name it (`schema.GroupResource`): `daemonsets.apps`, or `pods`.
    #[must_use]
    pub fn qualified_resource(&self) -> String {
        qualify(self.plural, self.group)
    }

    /// The kind as error texts name it (`schema.GroupKind`): `DaemonSet.apps`, or `Pod`.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        qualify(self.kind, self.group)
    }

    /// Whether objects live in a namespace.
    #[must_use]
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The subresource of that name, if the kind has it.
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

/// The kinds with a resource path of their own, in the order of discovery.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    KINDS
}

/// Kinds without a resource path: bodies of subresources, and options of requests.
#[must_use]
pub fn body_kinds() -> &'static [Kind] {
    BODY_KINDS
}

/// Finds the kind of a resource (upstream's `RESTMapper.KindFor`). `group` is empty for the core
/// group.
#[must_use]
pub fn find_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    kinds()
        .iter()
        .find(|k| k.group == group && k.version == version && k.plural == plural)
}

/// Finds a kind by its name, among those with a resource path and those without.
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

/// The values that most kinds have.
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
    selectable_fields: &[],
    has_generation: false,
};

/// A kind with its names. Fields after the names replace those of [`BASE`].
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
    selectable_fields: &["status.phase"],
);

const NODE: Kind = kind!("core", "Node", "nodes", "node",
    storage: "nodes",
    scope: Scope::Cluster,
    short_names: &["no"],
    subresources: &[
        sub("proxy", "NodeProxyOptions", &["create", "delete", "get", "patch", "update"]),
        sub("status", "Node", READ_WRITE),
    ],
    selectable_fields: &["spec.unschedulable"],
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
    selectable_fields: &[
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
    selectable_fields: &[
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
    selectable_fields: &[
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
    selectable_fields: &["spec.clusterIP", "spec.type"],
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
    kind!("core", "Secret", "secrets", "secret", storage: "secrets", selectable_fields: &["type"]),
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

//! Column definitions of each kind: names, types, priorities and the descriptions of the API documents.

use serde_json::{Value, json};

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    /// 0 is always printed, 1 only with `-o wide`.
    priority: u8,
}

impl Column {
    /// As the Table carries it.
    pub(super) fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

const fn column(kind: &'static str, name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        kind,
        format: "",
        description,
        priority: 0,
    }
}

const fn text(name: &'static str, description: &'static str) -> Column {
    column("string", name, description)
}

const fn wide(column: Column) -> Column {
    Column {
        priority: 1,
        ..column
    }
}

const NAME: Column = Column {
    format: "name",
    ..text("Name", NAME_TEXT)
};

const AGE: Column = text("Age", AGE_TEXT);

const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although \
     some resources may allow a client to request the generation of an appropriate name \
     automatically. Name is primarily intended for creation idempotence and configuration \
     definition. Cannot be updated. More info: \
     https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

const AGE_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was \
     created. It is not guaranteed to be set in happens-before order across separate \
     operations. Clients may not set this value. It is represented in RFC3339 form and is in \
     UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

const ADDRESSES_TEXT: &str = "List of addresses reachable to the node. Queried from cloud provider, if available. \
     More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This \
     field is declared as mergeable, but the merge key is not sufficiently unique, which can \
     cause data corruption when it is merged. Callers should instead use a full-replacement \
     patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that \
     addresses can change during the lifetime of a Node. However, there are some exceptions \
     where this may not be possible, such as Pods that inherit a Node's address in its own \
     status or consumers of the downward API (status.hostIP).";

pub(super) const POD: &[Column] = &[
    NAME,
    text(
        "Ready",
        "The aggregate readiness state of this pod for accepting traffic.",
    ),
    text(
        "Status",
        "The aggregate status of the containers in this pod.",
    ),
    text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last \
     container in this pod has restarted.",
    ),
    AGE,
    wide(text(
        "IP",
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not \
     yet allocated.",
    )),
    wide(text(
        "Node",
        "NodeName indicates in which node this pod is scheduled. If empty, this pod is a \
     candidate for scheduling by the scheduler defined in schedulerName. Once this field is \
     set, the kubelet for this node becomes responsible for the lifecycle of this pod. This \
     field should not be used to express a desire for the pod to be scheduled on a specific \
     node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
    )),
    wide(text(
        "Nominated Node",
        "nominatedNodeName is set only when this pod preempts other pods on the node, but it \
     cannot be scheduled right away as preemption victims receive their graceful termination \
     periods. This field does not guarantee that the pod will be scheduled on this node. \
     Scheduler may decide to place the pod elsewhere if other nodes become available sooner. \
     Scheduler may also decide to give the resources on this node to a higher priority pod \
     that is created after preemption. As a result, this field may be different than \
     PodSpec.nodeName when the pod is scheduled.",
    )),
    wide(text(
        "Readiness Gates",
        "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready \
     when all its containers are ready AND all conditions specified in the readiness gates \
     have status equal to \"True\" More info: \
     https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates",
    )),
];

pub(super) const NODE: &[Column] = &[
    NAME,
    text("Status", "The status of the node"),
    text("Roles", "The roles of the node"),
    AGE,
    text("Version", "Kubelet Version reported by the node."),
    wide(text("Internal-IP", ADDRESSES_TEXT)),
    wide(text("External-IP", ADDRESSES_TEXT)),
    wide(text(
        "OS-Image",
        "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).",
    )),
    wide(text(
        "Kernel-Version",
        "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).",
    )),
    wide(text(
        "Container-Runtime",
        "ContainerRuntime Version reported by the node through runtime remote API (e.g. \
     containerd://1.4.2).",
    )),
];

pub(super) const DAEMON_SET: &[Column] = &[
    NAME,
    column(
        "integer",
        "Desired",
        "The total number of nodes that should be running the daemon pod (including nodes \
     correctly running the daemon pod). More info: \
     https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
    ),
    column(
        "integer",
        "Current",
        "The number of nodes that are running at least 1 daemon pod and are supposed to run the \
     daemon pod. More info: \
     https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
    ),
    column(
        "integer",
        "Ready",
        "The number of nodes that should be running the daemon pod and have one or more of the \
     daemon pod running and ready.",
    ),
    column(
        "integer",
        "Up-to-date",
        "The total number of nodes that are running updated daemon pod",
    ),
    column(
        "integer",
        "Available",
        "The number of nodes that should be running the daemon pod and have one or more of the \
     daemon pod running and available (ready for at least spec.minReadySeconds)",
    ),
    text(
        "Node Selector",
        "NodeSelector is a selector which must be true for the pod to fit on a node. Selector \
     which must match a node's labels for the pod to be scheduled on that node. More info: \
     https://kubernetes.io/docs/concepts/configuration/assign-pod-node/",
    ),
    AGE,
    wide(text(
        "Containers",
        "Names of each container in the template.",
    )),
    wide(text(
        "Images",
        "Images referenced by each container in the template.",
    )),
    wide(text(
        "Selector",
        "A label query over pods that are managed by the daemon set. Must match in order to be \
     controlled. It must match the pod template's labels. More info: \
     https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    )),
];

pub(super) const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    text("Controller", "Controller of the object"),
    text(
        "Revision",
        "Revision indicates the revision of the state represented by Data.",
    ),
    AGE,
];

pub(super) const SERVICE: &[Column] = &[
    NAME,
    text(
        "Type",
        "type determines how the Service is exposed. Defaults to ClusterIP. Valid options are \
     ExternalName, ClusterIP, NodePort, and LoadBalancer. \"ClusterIP\" allocates a \
     cluster-internal IP address for load-balancing to endpoints. Endpoints are determined \
     by the selector or if that is not specified, by manual construction of an Endpoints \
     object or EndpointSlice objects. If clusterIP is \"None\", no virtual IP is allocated \
     and the endpoints are published as a set of endpoints rather than a virtual IP. \
     \"NodePort\" builds on ClusterIP and allocates a port on every node which routes to the \
     same endpoints as the clusterIP. \"LoadBalancer\" builds on NodePort and creates an \
     external load-balancer (if supported in the current cloud) which routes to the same \
     endpoints as the clusterIP. \"ExternalName\" aliases this service to the specified \
     externalName. Several other fields do not apply to ExternalName services. More info: \
     https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types",
    ),
    text(
        "Cluster-IP",
        "clusterIP is the IP address of the service and is usually assigned randomly. If an \
     address is specified manually, is in-range (as per system configuration), and is not in \
     use, it will be allocated to the service; otherwise creation of the service will fail. \
     This field may not be changed through updates unless the type field is also being \
     changed to ExternalName (which requires this field to be blank) or the type field is \
     being changed from ExternalName (in which case this field may optionally be specified, \
     as describe above).  Valid values are \"None\", empty string (\"\"), or a valid IP \
     address. Setting this to \"None\" makes a \"headless service\" (no virtual IP), which \
     is useful when direct endpoint connections are preferred and proxying is not required.  \
     Only applies to types ClusterIP, NodePort, and LoadBalancer. If this field is specified \
     when creating a Service of type ExternalName, creation will fail. This field will be \
     wiped when updating a Service to type ExternalName. More info: \
     https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies",
    ),
    text(
        "External-IP",
        "externalIPs is a list of IP addresses for which nodes in the cluster will also accept \
     traffic for this service.  These IPs are not managed by Kubernetes.  The user is \
     responsible for ensuring that traffic arrives at a node with this IP.  A common example \
     is external load-balancers that are not part of the Kubernetes system.",
    ),
    text(
        "Port(s)",
        "The list of ports that are exposed by this service. More info: \
     https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies",
    ),
    AGE,
    wide(text(
        "Selector",
        "Route service traffic to pods with label keys and values matching this selector. If \
     empty or not present, the service is assumed to have an external process managing its \
     endpoints, which Kubernetes will not modify. Only applies to types ClusterIP, NodePort, \
     and LoadBalancer. Ignored if type is ExternalName. More info: \
     https://kubernetes.io/docs/concepts/services-networking/service/",
    )),
];

pub(super) const ENDPOINTS: &[Column] = &[
    NAME,
    text(
        "Endpoints",
        "The set of all endpoints is the union of all subsets. Addresses are placed into subsets \
     according to the IPs they share. A single address with multiple ports, some of which \
     are ready and some of which are not (because they come from different containers) will \
     result in the address being displayed in different subsets for the different ports. No \
     address will appear in both Addresses and NotReadyAddresses in the same subset. Sets of \
     addresses and ports that comprise a service.",
    ),
    AGE,
];

pub(super) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    text(
        "AddressType",
        "addressType specifies the type of address carried by this EndpointSlice. All addresses \
     in this slice must be the same type. This field is immutable after creation. The \
     following address types are currently supported: * IPv4: Represents an IPv4 Address. * \
     IPv6: Represents an IPv6 Address. * FQDN: Represents a Fully Qualified Domain Name.",
    ),
    text(
        "Ports",
        "ports specifies the list of network ports exposed by each endpoint in this slice. Each \
     port must have a unique name. When ports is empty, it indicates that there are no \
     defined ports. When a port is defined with a nil port value, it indicates \"all \
     ports\". Each slice may include a maximum of 100 ports.",
    ),
    text(
        "Endpoints",
        "endpoints is a list of unique endpoints in this slice. Each slice may include a maximum \
     of 1000 endpoints.",
    ),
    AGE,
];

pub(super) const EVENT: &[Column] = &[
    text(
        "Last Seen",
        "The time at which the most recent occurrence of this event was recorded.",
    ),
    text(
        "Type",
        "Type of this event (Normal, Warning), new types could be added in the future",
    ),
    text(
        "Reason",
        "This should be a short, machine understandable string that gives the reason for the \
     transition into the object's current status.",
    ),
    text("Object", "The object that this event is about."),
    wide(text(
        "Subobject",
        "If referring to a piece of an object instead of an entire object, this string should \
     contain a valid JSON/Go field access statement, such as \
     desiredState.manifest.containers[2]. For example, if the object reference is to a \
     container within a pod, this would take on a value like: \"spec.containers{name}\" \
     (where \"name\" refers to the name of the container that triggered the event) or if no \
     container name is specified \"spec.containers[2]\" (container with index 2 in this \
     pod). This syntax is chosen only to have some well-defined way of referencing a part of \
     an object.",
    )),
    wide(text(
        "Source",
        "The component reporting this event. Should be a short machine understandable string.",
    )),
    text(
        "Message",
        "A human-readable description of the status of this operation.",
    ),
    wide(text(
        "First Seen",
        "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)",
    )),
    wide(text(
        "Count",
        "The number of times this event has occurred.",
    )),
    wide(NAME),
];

pub(super) const NAMESPACE: &[Column] = &[NAME, text("Status", "The status of the namespace"), AGE];

pub(super) const CONFIG_MAP: &[Column] = &[
    NAME,
    text(
        "Data",
        "Data contains the configuration data. Each key must consist of alphanumeric characters, \
     '-', '_' or '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. \
     The keys stored in Data must not overlap with the keys in the BinaryData field, this is \
     enforced during validation process.",
    ),
    AGE,
];

pub(super) const SECRET: &[Column] = &[
    NAME,
    text(
        "Type",
        "Used to facilitate programmatic handling of secret data. More info: \
     https://kubernetes.io/docs/concepts/configuration/secret/#secret-types",
    ),
    text(
        "Data",
        "Data contains the secret data. Each key must consist of alphanumeric characters, '-', \
     '_' or '.'. The serialized form of the secret data is a base64 encoded string, \
     representing the arbitrary (possibly non-string) data value here. Described in \
     https://tools.ietf.org/html/rfc4648#section-4",
    ),
    AGE,
];

pub(super) const SERVICE_ACCOUNT: &[Column] = &[
    NAME,
    text(
        "Secrets",
        "Secrets is a list of the secrets in the same namespace that pods running using this \
     ServiceAccount are allowed to use. Pods are only limited to this list if this service \
     account has a \"kubernetes.io/enforce-mountable-secrets\" annotation set to \"true\". \
     The \"kubernetes.io/enforce-mountable-secrets\" annotation is deprecated since v1.32. \
     Prefer separate namespaces to isolate access to mounted secrets. This field should not \
     be used to find auto-generated service account token secrets for use outside of pods. \
     Instead, tokens can be requested directly using the TokenRequest API, or service \
     account token secrets can be manually created. More info: \
     https://kubernetes.io/docs/concepts/configuration/secret",
    ),
    AGE,
];

pub(super) const LEASE: &[Column] = &[
    NAME,
    text(
        "Holder",
        "holderIdentity contains the identity of the holder of a current lease. If Coordinated \
     Leader Election is used, the holder identity must be equal to the elected \
     LeaseCandidate.metadata.name field.",
    ),
    AGE,
];

pub(super) const PRIORITY_CLASS: &[Column] = &[
    NAME,
    column(
        "integer",
        "Value",
        "value represents the integer value of this priority class. This is the actual priority \
     that pods receive when they have the name of this class in their pod spec.",
    ),
    column(
        "boolean",
        "Global-Default",
        "globalDefault specifies whether this PriorityClass should be considered as the default \
     priority for pods that do not have any priority class. Only one PriorityClass can be \
     marked as `globalDefault`. However, if more than one PriorityClasses exists with their \
     `globalDefault` field set to true, the smallest value of such global default \
     PriorityClasses will be used as the default priority.",
    ),
    AGE,
    text(
        "PreemptionPolicy",
        "preemptionPolicy is the Policy for preempting pods with lower priority. One of Never, \
     PreemptLowerPriority. Defaults to PreemptLowerPriority if unset.",
    ),
];

pub(super) const OTHER: &[Column] = &[NAME, column("date", "Created At", AGE_TEXT)];

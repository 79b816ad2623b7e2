//! Columns of everything else.

use super::{AGE, AGE_TEXT, Column, NAME, column, text, wide};

pub(crate) const SERVICE: &[Column] = &[
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

pub(crate) const ENDPOINTS: &[Column] = &[
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

pub(crate) const ENDPOINT_SLICE: &[Column] = &[
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

pub(crate) const EVENT: &[Column] = &[
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

pub(crate) const NAMESPACE: &[Column] = &[NAME, text("Status", "The status of the namespace"), AGE];

pub(crate) const CONFIG_MAP: &[Column] = &[
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

pub(crate) const SECRET: &[Column] = &[
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

pub(crate) const SERVICE_ACCOUNT: &[Column] = &[
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

pub(crate) const LEASE: &[Column] = &[
    NAME,
    text(
        "Holder",
        "holderIdentity contains the identity of the holder of a current lease. If Coordinated \
     Leader Election is used, the holder identity must be equal to the elected \
     LeaseCandidate.metadata.name field.",
    ),
    AGE,
];

pub(crate) const CERTIFICATE_SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    text(
        "SignerName",
        "signerName indicates the requested signer, and is a qualified name.",
    ),
    text(
        "Requestor",
        "request contains an x509 certificate signing request encoded in a \"CERTIFICATE REQUEST\" PEM \
     block. When serialized as JSON or YAML, the data is additionally base64-encoded.",
    ),
    text(
        "RequestedDuration",
        "expirationSeconds is the requested duration of validity of the issued certificate.",
    ),
    text(
        "Condition",
        "conditions applied to the request. Known conditions are \"Approved\", \"Denied\", and \
     \"Failed\".",
    ),
];

pub(crate) const FLOW_SCHEMA: &[Column] = &[
    NAME,
    text(
        "PriorityLevel",
        "`name` is the name of the priority level configuration being referenced Required.",
    ),
    text(
        "MatchingPrecedence",
        "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request. \
     The chosen FlowSchema is among those with the numerically lowest (which we take to be \
     logically highest) MatchingPrecedence.  Each MatchingPrecedence value must be ranged in \
     [1,10000]. Note that if the precedence is not specified, it will be set to 1000 as default.",
    ),
    text(
        "DistinguisherMethod",
        "`distinguisherMethod` defines how to compute the flow distinguisher for requests that \
     match this schema. `nil` specifies that the distinguisher is disabled and thus will always \
     be the empty string.",
    ),
    AGE,
    text(
        "MissingPL",
        "references a broken or non-existent PriorityLevelConfiguration",
    ),
];

pub(crate) const PRIORITY_LEVEL_CONFIGURATION: &[Column] = &[
    NAME,
    text(
        "Type",
        "`type` indicates whether this priority level is subject to limitation on request \
     execution.  A value of `\"Exempt\"` means that requests of this priority level are not \
     subject to a limit (and thus are never queued) and do not detract from the capacity made \
     available to other priority levels.  A value of `\"Limited\"` means that (a) requests of \
     this priority level _are_ subject to limits and (b) some of the server's limited capacity \
     is made available exclusively to this priority level. Required.",
    ),
    text(
        "NominalConcurrencyShares",
        "`nominalConcurrencyShares` (NCS) contributes to the computation of the \
     NominalConcurrencyLimit (NominalCL) of this level. This is the number of execution seats \
     available at this priority level. This is used both for requests dispatched from this \
     priority level as well as requests dispatched from other priority levels borrowing seats \
     from this level. The server's concurrency limit (ServerCL) is divided among the Limited \
     priority levels in proportion to their NCS values:\n\n\
     NominalCL(i)  = ceil( ServerCL * NCS(i) / sum_ncs ) sum_ncs = sum[priority level k] \
     NCS(k)\n\n\
     Bigger numbers mean a larger nominal concurrency limit, at the expense of every other \
     priority level.\n\n\
     If not specified, this field defaults to a value of 30.\n\n\
     Setting this field to zero supports the construction of a \"jail\" for this priority level \
     that is used to hold some request(s)",
    ),
    text(
        "Queues",
        "`queues` is the number of queues for this priority level. The queues exist \
     independently at each apiserver. The value must be positive.  Setting it to 1 effectively \
     precludes shufflesharding and thus makes the distinguisher method of associated flow \
     schemas irrelevant.  This field has a default value of 64.",
    ),
    text(
        "HandSize",
        "`handSize` is a small positive number that configures the shuffle sharding of requests \
     into queues.  When enqueuing a request at this priority level the request's flow identifier \
     (a string pair) is hashed and the hash value is used to shuffle the list of queues and deal \
     a hand of the size specified here.  The request is put into one of the shortest queues in \
     that hand. `handSize` must be no larger than `queues`, and should be significantly smaller \
     (so that a few heavy flows do not saturate most of the queues).  See the user-facing \
     documentation for more extensive guidance on setting this field.  This field has a default \
     value of 8.",
    ),
    text(
        "QueueLengthLimit",
        "`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given \
     queue of this priority level at a time; excess requests are rejected.  This value must be \
     positive.  If not specified, it will be defaulted to 50.",
    ),
    AGE,
];

pub(crate) const PRIORITY_CLASS: &[Column] = &[
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

pub(crate) const ROLE_BINDING: &[Column] = &[
    NAME,
    text(
        "Role",
        "RoleRef can reference a Role in the current namespace or a ClusterRole in the global \
     namespace. If the RoleRef cannot be resolved, the Authorizer must return an error.",
    ),
    AGE,
    USERS,
    GROUPS,
    SERVICE_ACCOUNTS,
];

pub(crate) const CLUSTER_ROLE_BINDING: &[Column] = &[
    NAME,
    text(
        "Role",
        "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot \
     be resolved, the Authorizer must return an error.",
    ),
    AGE,
    USERS,
    GROUPS,
    SERVICE_ACCOUNTS,
];

const USERS: Column = wide(text("Users", "Users in the roleBinding"));
const GROUPS: Column = wide(text("Groups", "Groups in the roleBinding"));
const SERVICE_ACCOUNTS: Column = wide(text(
    "ServiceAccounts",
    "ServiceAccounts in the roleBinding",
));

pub(crate) const OTHER: &[Column] = &[NAME, column("date", "Created At", AGE_TEXT)];

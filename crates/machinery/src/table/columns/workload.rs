//! Columns of pods, nodes and what makes pods.

use super::{AGE, Column, NAME, column, text, wide};

const ADDRESSES_TEXT: &str = "List of addresses reachable to the node. Queried from cloud provider, if available. \
     More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This \
     field is declared as mergeable, but the merge key is not sufficiently unique, which can \
     cause data corruption when it is merged. Callers should instead use a full-replacement \
     patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that \
     addresses can change during the lifetime of a Node. However, there are some exceptions \
     where this may not be possible, such as Pods that inherit a Node's address in its own \
     status or consumers of the downward API (status.hostIP).";

pub(crate) const POD: &[Column] = &[
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

pub(crate) const NODE: &[Column] = &[
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

pub(crate) const DAEMON_SET: &[Column] = &[
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

pub(crate) const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    text("Controller", "Controller of the object"),
    text(
        "Revision",
        "Revision indicates the revision of the state represented by Data.",
    ),
    AGE,
];

//! Which fields are left out of the JSON when they are empty (`omitempty`).
//!
//! The published schema does not say which Go fields are pointers, but the API shows it:
//! `hostNetwork: false` is not stored, `privileged: false` is. The lists here name the optional
//! scalars that are pointers in Go.

use serde_json::Value;

use super::definitions::{Definitions, reference, requires};

/// Optional scalars that are pointers in every type that has them.
const POINTERS: &[&str] = &[
    "appProtocol",
    "automountServiceAccountToken",
    "defaultMode",
    "immutable",
    "mode",
    "optional",
    "terminationGracePeriodSeconds",
];

/// Optional scalars that are pointers in one type: the type, then its fields.
const POINTERS_OF: &[(&str, &[&str])] = &[
    ("TokenRequestSpec", &["expirationSeconds"]),
    ("DaemonSetSpec", &["revisionHistoryLimit"]),
    ("DaemonSetStatus", &["collisionCount"]),
    (
        "LeaseSpec",
        &[
            "holderIdentity",
            "leaseDurationSeconds",
            "leaseTransitions",
            "preferredHolder",
            "strategy",
        ],
    ),
    ("AppArmorProfile", &["localhostProfile"]),
    (
        "AzureDiskVolumeSource",
        &["cachingMode", "fsType", "readOnly"],
    ),
    ("CSIVolumeSource", &["fsType", "readOnly"]),
    ("ClientIPConfig", &["timeoutSeconds"]),
    ("ClusterTrustBundleProjection", &["name", "signerName"]),
    ("Container", &["restartPolicy"]),
    ("ContainerStatus", &["started", "stopSignal"]),
    ("EndpointAddress", &["nodeName"]),
    ("EphemeralContainer", &["restartPolicy"]),
    (
        "ExemptPriorityLevelConfiguration",
        &["lendablePercent", "nominalConcurrencyShares"],
    ),
    ("FCVolumeSource", &["lun"]),
    ("GRPCAction", &["service"]),
    ("HostPathVolumeSource", &["type"]),
    ("ISCSIVolumeSource", &["initiatorName"]),
    ("Lifecycle", &["stopSignal"]),
    (
        "LimitedPriorityLevelConfiguration",
        &[
            "borrowingLimitPercent",
            "lendablePercent",
            "nominalConcurrencyShares",
        ],
    ),
    ("LoadBalancerIngress", &["ipMode"]),
    ("NodeFeatures", &["supplementalGroupsPolicy"]),
    ("NodeRuntimeHandler", &["name"]),
    (
        "NodeRuntimeHandlerFeatures",
        &["recursiveReadOnlyMounts", "userNamespaces"],
    ),
    ("NodeSwapStatus", &["capacity"]),
    (
        "PersistentVolumeClaimSpec",
        &[
            "storageClassName",
            "volumeAttributesClassName",
            "volumeMode",
        ],
    ),
    ("PodDNSConfigOption", &["value"]),
    (
        "PodResourceClaim",
        &["resourceClaimName", "resourceClaimTemplateName"],
    ),
    ("PodResourceClaimStatus", &["resourceClaimName"]),
    (
        "PodSecurityContext",
        &[
            "fsGroup",
            "fsGroupChangePolicy",
            "runAsGroup",
            "runAsNonRoot",
            "runAsUser",
            "seLinuxChangePolicy",
            "supplementalGroupsPolicy",
        ],
    ),
    (
        "PodSpec",
        &[
            "activeDeadlineSeconds",
            "enableServiceLinks",
            "hostUsers",
            "preemptionPolicy",
            "priority",
            "runtimeClassName",
            "setHostnameAsFQDN",
            "shareProcessNamespace",
        ],
    ),
    ("PortStatus", &["error"]),
    ("SeccompProfile", &["localhostProfile"]),
    (
        "SecurityContext",
        &[
            "allowPrivilegeEscalation",
            "privileged",
            "procMount",
            "readOnlyRootFilesystem",
            "runAsGroup",
            "runAsNonRoot",
            "runAsUser",
        ],
    ),
    ("ServiceAccountTokenProjection", &["expirationSeconds"]),
    (
        "ServiceSpec",
        &[
            "allocateLoadBalancerNodePorts",
            "internalTrafficPolicy",
            "ipFamilyPolicy",
            "loadBalancerClass",
            "trafficDistribution",
        ],
    ),
    ("Toleration", &["tolerationSeconds"]),
    (
        "TopologySpreadConstraint",
        &["minDomains", "nodeAffinityPolicy", "nodeTaintsPolicy"],
    ),
    ("TypedLocalObjectReference", &["apiGroup"]),
    ("TypedObjectReference", &["apiGroup", "namespace"]),
    ("VolumeMount", &["mountPropagation", "recursiveReadOnly"]),
    ("VolumeMountStatus", &["recursiveReadOnly"]),
    (
        "WindowsSecurityContextOptions",
        &[
            "gmsaCredentialSpec",
            "gmsaCredentialSpecName",
            "hostProcess",
            "runAsUserName",
        ],
    ),
    ("Endpoint", &["hostname", "nodeName", "zone"]),
    ("EndpointConditions", &["ready", "serving", "terminating"]),
    ("PriorityClass", &["preemptionPolicy"]),
    (
        "DeleteOptions",
        &[
            "gracePeriodSeconds",
            "ignoreStoreReadErrorWithClusterBreakingPotential",
            "orphanDependents",
            "propagationPolicy",
        ],
    ),
    ("ListMeta", &["remainingItemCount"]),
    ("ObjectMeta", &["deletionGracePeriodSeconds"]),
    ("OwnerReference", &["blockOwnerDeletion", "controller"]),
    ("Preconditions", &["resourceVersion", "uid"]),
    ("discovery.v1.EndpointPort", &["name", "port", "protocol"]),
    (
        "core.v1.Event",
        &["reportingComponent", "reportingInstance"],
    ),
];

/// Whether an empty value of this field is left out of the JSON.
pub(crate) fn omit_empty(
    definitions: &Definitions,
    owner: &str,
    field: &str,
    schema: &Value,
) -> bool {
    if requires(&definitions[owner], field) || reference(schema).is_some() {
        return false;
    }
    match schema["type"].as_str() {
        Some("array") => true,
        Some("object") => schema.get("additionalProperties").is_some(),
        Some(_) => !is_pointer(owner, field),
        None => false,
    }
}

fn is_pointer(owner: &str, field: &str) -> bool {
    let of_type = |(name, fields): &(&str, &[&str])| {
        owner.ends_with(&format!(".{name}")) && fields.contains(&field)
    };
    POINTERS.contains(&field) || POINTERS_OF.iter().any(of_type)
}

//! The fields of a status patch, borrowed from the pod, so that a patch costs one buffer.

use std::net::Ipv4Addr;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Patch<'a> {
    pub(super) metadata: Uid<'a>,
    pub(super) status: Status<'a>,
}

/// A precondition: the server refuses the patch for a later pod of the same name.
#[derive(Debug, Serialize)]
pub(super) struct Uid<'a> {
    pub(super) uid: &'a str,
}

/// Without `hostIPs`: servers before 1.28 refuse patches that name it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status<'a> {
    pub(super) phase: &'a str,
    pub(super) start_time: &'a str,
    pub(super) conditions: [Condition<'a>; 5],
    pub(super) container_statuses: Vec<ContainerStatus<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) init_container_statuses: Vec<ContainerStatus<'a>>,
    #[serde(rename = "hostIP")]
    pub(super) host_ip: Ipv4Addr,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Ipv4Addr,
    #[serde(rename = "podIPs")]
    pub(super) pod_ips: [Ip; 1],
}

#[derive(Debug, Serialize)]
pub(super) struct Ip {
    pub(super) ip: Ipv4Addr,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) status: &'a str,
    /// Serialized as null, as kubelets do.
    pub(super) last_probe_time: (),
    pub(super) last_transition_time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    pub(super) ready: bool,
    pub(super) started: bool,
    #[serde(rename = "imageID")]
    pub(super) image_id: String,
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
    pub(super) restart_count: u32,
    pub(super) state: State<'a>,
    pub(super) last_state: State<'a>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct State<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waiting: Option<Waiting<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) running: Option<Running<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) terminated: Option<Terminated<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Waiting<'a> {
    pub(super) reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Running<'a> {
    pub(super) started_at: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Terminated<'a> {
    pub(super) exit_code: i32,
    pub(super) reason: &'a str,
    pub(super) started_at: &'a str,
    pub(super) finished_at: &'a str,
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
}

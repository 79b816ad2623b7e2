//! The statuses that hollow nodes report, and the numbers derived from uids.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::pod::{crashes, start::StartAttempt};

const ATTEMPT: StartAttempt = StartAttempt {
    node: 4,
    crash: false,
    restarts: 0,
    pulled_before: false,
};

fn patch(pod: &Pod, attempt: StartAttempt) -> Value {
    let patch = pod.status_patch(attempt, Timestamp::UNIX_EPOCH).unwrap();
    serde_json::from_slice(&patch).unwrap()
}

fn pod(spec: &Value) -> Pod {
    let metadata = json!({"name": "p", "namespace": "d", "uid": "u-1"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// The status in one line.
fn line(spec: &Value, crash: bool) -> String {
    let patch = patch(&pod(spec), StartAttempt { crash, ..ATTEMPT });
    let status = &patch["status"];
    let state = |container: &Value| {
        let (kind, state) = container["state"]
            .as_object()
            .unwrap()
            .iter()
            .next()
            .unwrap();
        let reason = state["reason"].as_str().unwrap_or("-");
        format!(
            "{} {kind} {reason} ready={}",
            container["name"].as_str().unwrap(),
            container["ready"]
        )
    };
    let of = |list: &str| {
        let list = status[list].as_array().into_iter().flatten();
        list.map(state).collect::<Vec<_>>().join(", ")
    };
    let holds = |condition: &&Value| condition["status"] == "True";
    let conditions = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(holds);
    let conditions: Vec<_> = conditions.map(|c| c["type"].as_str().unwrap()).collect();
    let init = of("initContainerStatuses");
    format!(
        "{} [{init}] [{}] {}",
        status["phase"].as_str().unwrap(),
        of("containerStatuses"),
        conditions.join(" ")
    )
}

#[test]
fn the_status_follows_images_and_crashes() {
    let all = "PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled";
    let unready = "PodReadyToStartContainers Initialized PodScheduled";
    let containers = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
    let cases = [
        (
            containers("a:1"),
            false,
            format!("Running [] [c running - ready=true] {all}"),
        ),
        (
            containers("a:notready"),
            false,
            format!("Running [] [c running - ready=false] {unready}"),
        ),
        (
            containers("example.com/non-existent:1"),
            false,
            format!("Pending [] [c waiting ErrImagePull ready=false] {unready}"),
        ),
        (
            containers("a:1"),
            true,
            format!("Running [] [c waiting CrashLoopBackOff ready=false] {unready}"),
        ),
        (
            json!({"containers": [{"name": "c", "image": "a"}], "restartPolicy": "Never"}),
            true,
            format!("Failed [] [c terminated Error ready=false] {unready}"),
        ),
        (
            json!({"containers": [{"name": "c", "image": "a"}], "initContainers": [
                {"name": "i", "image": "b"},
                {"name": "s", "image": "b", "restartPolicy": "Always"},
            ]}),
            false,
            format!(
                "Running [i terminated Completed ready=true, s running - ready=true] \
                 [c running - ready=true] {all}"
            ),
        ),
        (
            json!({"containers": [{"name": "c", "image": "a"}], "initContainers": [
                {"name": "i", "image": "non-existent"},
            ]}),
            false,
            "Pending [i waiting ErrImagePull ready=false] \
             [c waiting PodInitializing ready=false] PodReadyToStartContainers PodScheduled"
                .to_owned(),
        ),
    ];
    for (spec, crash, expected) in cases {
        assert_eq!(line(&spec, crash), expected, "{spec}");
    }
}

#[test]
fn the_pod_ip_is_the_nodes_with_host_network_and_its_own_otherwise() {
    let host = patch(&pod(&json!({"hostNetwork": true})), ATTEMPT);
    assert_eq!(host["status"]["podIP"], "10.64.0.5");
    let own = patch(&pod(&json!({})), ATTEMPT);
    assert_eq!(own["status"]["hostIP"], "10.64.0.5");
    let ip: Ipv4Addr = own["status"]["podIP"].as_str().unwrap().parse().unwrap();
    assert_eq!((ip.octets()[0], ip.octets()[1] & 0xc0), (100, 64));
    assert_eq!(own["metadata"]["uid"], "u-1");
}

#[test]
fn a_second_failed_pull_is_reported_as_back_off() {
    let pod = pod(&json!({"containers": [{"name": "c", "image": "non-existent"}]}));
    assert!(pod.lacks_image());
    let attempt = StartAttempt {
        pulled_before: true,
        ..ATTEMPT
    };
    let waiting = &patch(&pod, attempt)["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(
        waiting,
        &json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image \"non-existent\": \
            ErrImagePull: failed to pull image \"non-existent\": not found"})
    );
}

#[test]
fn the_failure_rate_is_the_share_of_pods_that_crash() {
    let uid = |i: u32| format!("4f0c5d3e-0000-4000-8000-{i:012}");
    let crashed = (0..10_000).filter(|i| crashes(&uid(*i), 0.3)).count();
    assert!((2800..3200).contains(&crashed), "{crashed}");
    assert!((0..100).all(|i| !crashes(&uid(i), 0.0) && crashes(&uid(i), 1.0)));
}

#[test]
fn a_running_status_with_the_same_images_counts_as_reported() {
    let mut pod = pod(&json!({"containers": [{"name": "c", "image": "a:1"}]}));
    assert!(!pod.is_reported());
    pod.status = serde_json::from_value(
        json!({"phase": "Running", "containerStatuses": [{"image": "a:1", "name": "c"}]}),
    )
    .unwrap();
    assert!(pod.is_reported());
    pod.spec.containers[0].image = "a:2".into();
    assert!(!pod.is_reported());
}

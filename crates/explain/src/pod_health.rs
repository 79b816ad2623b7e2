//! What a pod waits for, or why it fails, read from its status.

use pandaemon_types::{Phase, Timestamp};
use serde_json::Value;

use crate::{
    reason::{Reason, ReasonKind},
    snapshot::DaemonPod,
    text::{ago, plural},
};

/// Reasons of waiting containers that are part of a normal start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Whether a pod runs, starts, or is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It runs, whether or not it is ready.
    Runs,
    /// It is starting normally.
    Starts,
    /// It needs a change to go on.
    Stuck,
}

/// The health of a pod, and reasons where it does not simply run.
pub(crate) fn pod_health(pod: &DaemonPod, now: Timestamp) -> (Health, Vec<Reason>) {
    let name = &pod.view.name;
    match pod.view.phase {
        Phase::Failed | Phase::Succeeded => (Health::Stuck, vec![ended(pod)]),
        _ if pod.view.node.is_none() => unscheduled(pod, now),
        phase => {
            let mut reasons = container_problems(pod, now);
            if !reasons.is_empty() {
                return (Health::Stuck, reasons);
            }
            if phase == Phase::Pending {
                let text = format!("pod {name} starts: {}", starting(pod, now));
                let reason =
                    Reason::new(ReasonKind::Starting, text).with_group_key("its pod starts");
                return (Health::Starts, vec![reason]);
            }
            if !pod.view.ready {
                reasons.push(unready(pod, now));
            }
            (Health::Runs, reasons)
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn since(time: &str, now: Timestamp) -> Option<String> {
    time.parse().ok().map(|then| ago(then, now))
}

/// `: message`, or an empty string.
fn colon(message: &str) -> String {
    let message = message.trim();
    if message.is_empty() {
        String::new()
    } else {
        format!(": {}", message.replace('\n', " "))
    }
}

fn ended(pod: &DaemonPod) -> Reason {
    let name = &pod.view.name;
    let status = pod.object.get("status").unwrap_or(&Value::Null);
    let (reason, message) = (text(status, "/reason"), text(status, "/message"));
    let word = if pod.view.phase == Phase::Failed {
        "failed"
    } else {
        "ended, which a daemon should not"
    };
    let why = match (reason, containers(pod).find_map(|(_, c)| exit(c))) {
        ("", Some(exit)) => format!(": {exit}"),
        ("", None) => colon(message),
        (reason, _) => format!(": {reason}{}", colon(message)),
    };
    Reason::new(ReasonKind::PodEnded, format!("pod {name} {word}{why}"))
        .with_group_key(format!("its pod {word}: {reason}"))
}

fn unscheduled(pod: &DaemonPod, now: Timestamp) -> (Health, Vec<Reason>) {
    let name = &pod.view.name;
    let scheduled = condition(pod, "PodScheduled");
    let refused = scheduled.filter(|condition| text(condition, "/status") == "False");
    let Some(refused) = refused else {
        let age = ago(pod.view.created, now);
        let text = format!("pod {name} waits for the scheduler since {age}");
        let reason = Reason::new(ReasonKind::Starting, text)
            .with_group_key("its pod waits for the scheduler");
        return (Health::Starts, vec![reason]);
    };
    let (word, message) = (text(refused, "/reason"), text(refused, "/message"));
    // The part about preemption repeats the rest.
    let message = message.split(" preemption: ").next().unwrap_or_default();
    let text = format!("pod {name} is not scheduled: {word}{}", colon(message));
    let reason = Reason::new(ReasonKind::Unschedulable, text);
    (
        Health::Stuck,
        vec![reason.with_group_key("its pod is not scheduled")],
    )
}

fn condition<'a>(pod: &'a DaemonPod, kind: &str) -> Option<&'a Value> {
    let conditions = pod.object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|c| text(c, "/type") == kind)
}

/// Statuses of init containers, then of containers, with the word for their kind.
fn containers(pod: &DaemonPod) -> impl Iterator<Item = (&'static str, &Value)> {
    let list = |field: &str| {
        let list = pod.object.pointer(field).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    };
    let init = list("/status/initContainerStatuses").iter();
    let main = list("/status/containerStatuses").iter();
    init.map(|c| ("init container", c))
        .chain(main.map(|c| ("container", c)))
}

/// How a container last ended; `None` if it completed.
fn exit(container: &Value) -> Option<String> {
    let ended = container
        .pointer("/state/terminated")
        .or_else(|| container.pointer("/lastState/terminated"))?;
    let code = ended.get("exitCode").and_then(Value::as_i64)?;
    if code == 0 && text(ended, "/reason") == "Completed" {
        return None;
    }
    let (reason, message) = (text(ended, "/reason"), text(ended, "/message"));
    Some(format!("exit code {code} ({reason}){}", colon(message)))
}

/// The containers that ended, or wait for a reason that is not part of a normal start.
fn container_problems(pod: &DaemonPod, now: Timestamp) -> Vec<Reason> {
    containers(pod)
        .filter_map(|(kind, container)| container_problem(kind, container, now))
        .collect()
}

fn container_problem(kind: &str, container: &Value, now: Timestamp) -> Option<Reason> {
    let name = text(container, "/name");
    let waiting = container.pointer("/state/waiting");
    let Some(waiting) = waiting else {
        // An init container that exited with 0 is done; one that failed is restarted.
        let failed = container.pointer("/state/terminated/exitCode")?.as_i64()? != 0;
        let running = kind == "container" || failed;
        let what = exit(container).filter(|_| running)?;
        let reason = Reason::new(
            ReasonKind::Container,
            format!("{kind} {name} ended: {what}"),
        );
        return Some(reason.with_group_key(format!("{kind} {name} ended")));
    };
    let word = text(waiting, "/reason");
    if word.is_empty() || STARTING.contains(&word) {
        return None;
    }
    let (message, image) = (text(waiting, "/message"), text(container, "/image"));
    let about = if word.contains("Image") && !message.contains(image) {
        format!(" (image {image})")
    } else {
        String::new()
    };
    let last = exit(container).map(|exit| {
        let at = since(text(container, "/lastState/terminated/finishedAt"), now);
        let at = at.map(|at| format!(" {at} ago")).unwrap_or_default();
        let restarts = container.get("restartCount").and_then(Value::as_i64);
        format!(
            "; last {exit}{at}, {}",
            plural(restarts.unwrap_or(0), "restart")
        )
    });
    let text = format!(
        "{kind} {name}: {word}{about}{}{}",
        colon(message),
        last.unwrap_or_default()
    );
    let group_key = format!("{kind} {name}: {word}");
    Some(Reason::new(ReasonKind::Container, text).with_group_key(group_key))
}

fn starting(pod: &DaemonPod, now: Timestamp) -> String {
    let waits = containers(pod).find_map(|(kind, container)| {
        let word = text(container, "/state/waiting/reason");
        let name = text(container, "/name");
        if kind == "init container" && container.pointer("/state/running").is_some() {
            return Some(format!("{kind} {name} runs"));
        }
        (!word.is_empty()).then(|| word.to_owned())
    });
    let age = ago(pod.view.created, now);
    let waits = waits.unwrap_or_else(|| "the node has not said anything yet".to_owned());
    format!("{waits}, created {age} ago")
}

fn unready(pod: &DaemonPod, now: Timestamp) -> Reason {
    let ready = condition(pod, "Ready").unwrap_or(&Value::Null);
    let for_how_long = since(text(ready, "/lastTransitionTime"), now)
        .map(|time| format!(" since {time}"))
        .unwrap_or_default();
    let not_ready = containers(pod).find(|(kind, container)| {
        *kind == "container" && container.get("ready").and_then(Value::as_bool) == Some(false)
    });
    let why = match not_ready {
        Some((_, container)) => {
            let name = text(container, "/name");
            let started = container.get("started").and_then(Value::as_bool);
            let probe = if started == Some(false) {
                "startup"
            } else {
                "readiness"
            };
            if has_probe(pod, name, probe) {
                format!(": the {probe} probe of container {name} does not pass")
            } else {
                format!(": container {name} is not ready")
            }
        }
        None => match text(ready, "/reason") {
            "" => String::new(),
            reason => format!(": {reason}{}", colon(text(ready, "/message"))),
        },
    };
    let name = &pod.view.name;
    let text = format!("pod {name} is not ready{for_how_long}{why}");
    Reason::new(ReasonKind::NotReady, text).with_group_key(format!("its pod is not ready{why}"))
}

fn has_probe(pod: &DaemonPod, container: &str, probe: &str) -> bool {
    let specs = pod.object.pointer("/spec/containers");
    let specs = specs.and_then(Value::as_array).into_iter().flatten();
    let mut named = specs.filter(|spec| text(spec, "/name") == container);
    named.any(|spec| spec.get(format!("{probe}Probe")).is_some())
}

/// The sum of its containers' restart counts.
pub(crate) fn restarts(pod: &DaemonPod) -> i64 {
    containers(pod)
        .filter_map(|(_, container)| container.get("restartCount").and_then(Value::as_i64))
        .sum()
}

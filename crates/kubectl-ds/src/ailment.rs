//! What a pod waits for or suffers from, in the words of its own status.

use pandaemon_machinery::table::human_duration;
use pandaemon_types::{Phase, Timestamp};
use serde_json::Value;

use crate::{
    reason::{Kind, Reason},
    world::Daemon,
};

/// What containers wait for when all is well.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// How a pod does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It runs, whether or not it is ready.
    Runs,
    /// It is on its way.
    Starts,
    /// Something is in its way.
    Stuck,
}

/// How a pod does, and why, where that needs a word.
pub(crate) fn diagnose(pod: &Daemon, now: Timestamp) -> (Health, Vec<Reason>) {
    let name = &pod.view.name;
    match pod.view.phase {
        Phase::Failed | Phase::Succeeded => (Health::Stuck, vec![ended(pod)]),
        _ if pod.view.node.is_none() => unscheduled(pod, now),
        phase => {
            let mut reasons = troubles(pod, now);
            if !reasons.is_empty() {
                return (Health::Stuck, reasons);
            }
            if phase == Phase::Pending {
                let text = format!("pod {name} starts: {}", starting(pod, now));
                let reason = Reason::new(Kind::Starting, text).with_gist("its pod starts");
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

/// How long ago a time was.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    human_duration(now.millis_since(then) / 1000)
}

fn since(time: &str, now: Timestamp) -> Option<String> {
    time.parse().ok().map(|then| ago(then, now))
}

/// `: message`, or nothing.
fn colon(message: &str) -> String {
    let message = message.trim();
    if message.is_empty() {
        String::new()
    } else {
        format!(": {}", message.replace('\n', " "))
    }
}

fn ended(pod: &Daemon) -> Reason {
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
    Reason::new(Kind::PodEnded, format!("pod {name} {word}{why}"))
        .with_gist(format!("its pod {word}: {reason}"))
}

fn unscheduled(pod: &Daemon, now: Timestamp) -> (Health, Vec<Reason>) {
    let name = &pod.view.name;
    let scheduled = condition(pod, "PodScheduled");
    let refused = scheduled.filter(|condition| text(condition, "/status") == "False");
    let Some(refused) = refused else {
        let age = ago(pod.view.created, now);
        let text = format!("pod {name} waits for the scheduler since {age}");
        let reason = Reason::new(Kind::Starting, text).with_gist("its pod waits for the scheduler");
        return (Health::Starts, vec![reason]);
    };
    let (word, message) = (text(refused, "/reason"), text(refused, "/message"));
    // What it says of preemption repeats the rest.
    let message = message.split(" preemption: ").next().unwrap_or_default();
    let text = format!("pod {name} is not scheduled: {word}{}", colon(message));
    let reason = Reason::new(Kind::Unschedulable, text);
    (
        Health::Stuck,
        vec![reason.with_gist("its pod is not scheduled")],
    )
}

fn condition<'a>(pod: &'a Daemon, kind: &str) -> Option<&'a Value> {
    let conditions = pod.object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|c| text(c, "/type") == kind)
}

/// Statuses of init containers, then of containers, with the word for them.
fn containers(pod: &Daemon) -> impl Iterator<Item = (&'static str, &Value)> {
    let list = |field: &str| {
        let list = pod.object.pointer(field).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    };
    let init = list("/status/initContainerStatuses").iter();
    let main = list("/status/containerStatuses").iter();
    init.map(|c| ("init container", c))
        .chain(main.map(|c| ("container", c)))
}

/// How a container ended last.
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

/// Containers that wait for something that will not come by itself, or have ended.
fn troubles(pod: &Daemon, now: Timestamp) -> Vec<Reason> {
    containers(pod)
        .filter_map(|(kind, container)| trouble(kind, container, now))
        .collect()
}

fn trouble(kind: &str, container: &Value, now: Timestamp) -> Option<Reason> {
    let name = text(container, "/name");
    let waiting = container.pointer("/state/waiting");
    let Some(waiting) = waiting else {
        // An init container that ended well is done; one that ended badly is started again.
        let failed = container.pointer("/state/terminated/exitCode")?.as_i64()? != 0;
        let running = kind == "container" || failed;
        let what = exit(container).filter(|_| running)?;
        let reason = Reason::new(Kind::Container, format!("{kind} {name} ended: {what}"));
        return Some(reason.with_gist(format!("{kind} {name} ended")));
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
    let gist = format!("{kind} {name}: {word}");
    Some(Reason::new(Kind::Container, text).with_gist(gist))
}

pub(crate) fn plural(count: i64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

fn starting(pod: &Daemon, now: Timestamp) -> String {
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

fn unready(pod: &Daemon, now: Timestamp) -> Reason {
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
    Reason::new(Kind::NotReady, text).with_gist(format!("its pod is not ready{why}"))
}

fn has_probe(pod: &Daemon, container: &str, probe: &str) -> bool {
    let specs = pod.object.pointer("/spec/containers");
    let specs = specs.and_then(Value::as_array).into_iter().flatten();
    let mut named = specs.filter(|spec| text(spec, "/name") == container);
    named.any(|spec| spec.get(format!("{probe}Probe")).is_some())
}

/// How often its containers were started again.
pub(crate) fn restarts(pod: &Daemon) -> i64 {
    containers(pod)
        .filter_map(|(_, container)| container.get("restartCount").and_then(Value::as_i64))
        .sum()
}

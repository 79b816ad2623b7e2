//! Rows of `Pod`. The cell Status sums up phase, conditions and containers in one word.

use serde_json::{Value, json};

use super::{
    age,
    cells::{Clock, name},
    or_none, text_of_type,
};
use crate::json_fields::ReadFields;

pub(crate) fn cells(object: &Value, clock: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let summary = Summary::of(object);
    let ip = status
        .items("podIPs")
        .first()
        .map_or(status.text("podIP"), |ip| ip.text("ip"));
    vec![
        name(object),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.clone().into(),
        summary.restarts.text(clock).into(),
        clock.age(object),
        or_none(ip).into(),
        or_none(spec.text("nodeName")).into(),
        or_none(status.text("nominatedNodeName")).into(),
        gates(spec, status).into(),
    ]
}

/// The `conditions` of the row of a finished pod, by which `kubectl get -w` can drop the row.
pub(crate) fn row_conditions(object: &Value) -> Option<Value> {
    let (reason, message) = match object["status"].text("phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

/// The cell Readiness Gates: how many of them are true.
fn gates(spec: &Value, status: &Value) -> String {
    let gates = spec.items("readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let met = gates
        .iter()
        .filter(|g| condition(status, g.text("conditionType")) == "True")
        .count();
    format!("{met}/{}", gates.len())
}

fn condition<'a>(status: &'a Value, of_type: &str) -> &'a str {
    text_of_type(status.items("conditions"), of_type, "status")
}

/// The restarts of some containers, and the time of the last one in seconds since 1970.
#[derive(Debug, Default)]
struct Restarts {
    count: i64,
    last: Option<i64>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += container.int("restartCount");
        let finished = container["lastState"]["terminated"].text("finishedAt");
        self.last = self.last.max(age::seconds_of(finished));
    }

    /// The cell Restarts, such as `12 (44m ago)`.
    fn text(&self, clock: Clock) -> String {
        match self.last {
            Some(then) if self.count != 0 => {
                let ago = age::human_duration(clock.now_seconds - then);
                format!("{} ({ago} ago)", self.count)
            }
            _ => self.count.to_string(),
        }
    }
}

/// The cells Status, Ready and Restarts.
#[derive(Debug)]
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: Restarts,
}

impl Summary {
    fn of(object: &Value) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        let sidecars = spec
            .items("initContainers")
            .iter()
            .filter(|c| is_sidecar(c))
            .count();
        let mut summary = Self {
            reason: first_reason(status),
            ready: 0,
            total: spec.items("containers").len() + sidecars,
            restarts: Restarts::default(),
        };
        let (initializing, sidecar_restarts) = summary.init_containers(spec, status);
        if !initializing || condition(status, "Initialized") == "True" {
            summary.restarts = sidecar_restarts;
            summary.containers(status);
        }
        summary.deletion(object);
        summary
    }

    /// Sums up the init containers, up to the first one that has neither finished nor started as a
    /// sidecar. Returns whether there is such a one, and the restarts of sidecars.
    fn init_containers(&mut self, spec: &Value, status: &Value) -> (bool, Restarts) {
        let init = spec.items("initContainers");
        let mut sidecar_restarts = Restarts::default();
        for (at, container) in status.items("initContainerStatuses").iter().enumerate() {
            self.restarts.add(container);
            let name = container.text("name");
            let sidecar = init.iter().any(|c| c.text("name") == name && is_sidecar(c));
            if sidecar {
                sidecar_restarts.add(container);
            }
            let state = &container["state"];
            if state
                .field("terminated")
                .is_some_and(|t| t.int("exitCode") == 0)
            {
                continue;
            }
            if sidecar && container.flag("started") {
                self.ready += usize::from(container.flag("ready"));
                continue;
            }
            self.reason = init_reason(state, at, init.len());
            return (true, sidecar_restarts);
        }
        (false, sidecar_restarts)
    }

    fn containers(&mut self, status: &Value) {
        let mut running = false;
        for container in status.items("containerStatuses").iter().rev() {
            self.restarts.add(container);
            let state = &container["state"];
            let waiting = state["waiting"].text("reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if let Some(terminated) = state.field("terminated") {
                self.reason = termination(terminated);
            } else if container.flag("ready") && state.has("running") {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = condition(status, "Ready") == "True";
            (if ready { "Running" } else { "NotReady" }).clone_into(&mut self.reason);
        }
    }

    fn deletion(&mut self, object: &Value) {
        let status = &object["status"];
        if !object["metadata"].has("deletionTimestamp") {
            return;
        }
        if status.text("reason") == "NodeLost" {
            "Unknown".clone_into(&mut self.reason);
        } else if !matches!(status.text("phase"), "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut self.reason);
        }
    }
}

fn is_sidecar(container: &Value) -> bool {
    container.text("restartPolicy") == "Always"
}

fn first_reason(status: &Value) -> String {
    let gated =
        |c: &Value| c.text("type") == "PodScheduled" && c.text("reason") == "SchedulingGated";
    if status.items("conditions").iter().any(gated) {
        return "SchedulingGated".to_owned();
    }
    match status.text("reason") {
        "" => status.text("phase").to_owned(),
        reason => reason.to_owned(),
    }
}

fn init_reason(state: &Value, at: usize, total: usize) -> String {
    let waiting = state["waiting"].text("reason");
    if let Some(terminated) = state.field("terminated") {
        format!("Init:{}", termination(terminated))
    } else if !waiting.is_empty() && waiting != "PodInitializing" {
        format!("Init:{waiting}")
    } else {
        format!("Init:{at}/{total}")
    }
}

fn termination(terminated: &Value) -> String {
    match (terminated.text("reason"), terminated.int("signal")) {
        ("", 0) => format!("ExitCode:{}", terminated.int("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

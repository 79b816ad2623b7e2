//! Snapshots described in text: a few words for each object.

use std::collections::BTreeMap;

use pandaemon_explain::{
    RolloutTracker, Snapshot, TableOptions, dry_run, explain, render, render_status,
};
use pandaemon_types::{PodView, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

/// The objects of a snapshot, and the command to run.
#[derive(Default)]
pub(crate) struct Sketch {
    set: Value,
    applied: Option<Value>,
    revisions: Vec<Value>,
    nodes: Vec<Value>,
    pods: Vec<Value>,
    others: Vec<Value>,
    events: Vec<Value>,
    blind: bool,
    only: Option<String>,
    ask: String,
}

pub(crate) fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> String {
    noon().plus_seconds(-seconds).to_string()
}

fn read<T: for<'de> Deserialize<'de>>(objects: &[Value]) -> Vec<T> {
    objects
        .iter()
        .map(|object| T::deserialize(object).unwrap())
        .collect()
}

impl Sketch {
    /// Adds the object or option of one line.
    pub(crate) fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rest = words.get(1..).unwrap_or_default();
        match words[0] {
            "set" => {
                self.set = described(set(), &rest[1..]);
                self.rev(&[image(&self.set).to_owned().as_str(), "1"]);
            }
            "change" => {
                self.set = described(self.set.take(), rest);
                self.set["metadata"]["generation"] = json!(2);
                self.set["status"]["observedGeneration"] = json!(2);
            }
            "apply" => {
                let mut next = described(self.set.clone(), rest);
                next["metadata"]["generation"] = json!(2);
                next["status"]["observedGeneration"] = json!(2);
                self.applied = Some(next);
            }
            "rev" => self.rev(rest),
            "node" => self.nodes.push(node(rest)),
            "pod" => self.pods.push(pod(rest)),
            "other" => self.others.push(other(rest)),
            "event" => self.event(rest),
            "blind" => self.blind = true,
            "only" => self.only = Some(rest[0].to_owned()),
            "ask" => self.ask = rest.join(" "),
            what => panic!("what is `{what}`?"),
        }
    }

    fn rev(&mut self, words: &[&str]) {
        let mut template = self.set["spec"]["template"].clone();
        template["spec"]["containers"][0]["image"] = json!(words[0]);
        let mut annotations = json!({});
        if let Some(cause) = words.get(2) {
            annotations["kubernetes.io/change-cause"] = json!(cause.replace('_', " "));
        }
        self.revisions.push(json!({
            "metadata": {"name": format!("agent-{}", words[0]), "namespace": "ns", "uid": words[0],
                "labels": {"app": "agent", "controller-revision-hash": words[0]},
                "annotations": annotations, "creationTimestamp": ago(86_400),
                "ownerReferences": [{"kind": "DaemonSet", "uid": "set", "controller": true}]},
            "data": {"spec": {"template": template}},
            "revision": words[1].parse::<i64>().unwrap(),
        }));
    }

    fn event(&mut self, words: &[&str]) {
        let at = ago(words[1].parse().unwrap());
        let text = words[2..].join(" ");
        self.events.push(json!({
            "reason": words[0], "message": text, "lastTimestamp": at, "count": 1,
        }));
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut node_pods: BTreeMap<_, Vec<PodView>> = BTreeMap::new();
        for view in read::<PodView>(&[self.others.clone(), self.pods.clone()].concat()) {
            if let Some(node) = view.node.clone() {
                node_pods.entry(node).or_default().push(view);
            }
        }
        Snapshot {
            set: self.applied.clone().unwrap_or_else(|| self.set.clone()),
            revisions: read(&self.revisions),
            nodes: read(&self.nodes),
            pods: read(&self.pods),
            node_pods: (!self.blind).then_some(node_pods),
            events: self.events.clone(),
            now: noon(),
        }
    }

    /// The output of the command.
    pub(crate) fn output(&self) -> String {
        let snapshot = self.snapshot();
        if self.ask == "status" {
            let tracker = RolloutTracker::of(&snapshot).unwrap();
            return render_status(&tracker.report(snapshot.now), snapshot.now, false);
        }
        let report = match &self.applied {
            Some(_) => dry_run(&snapshot, Some(&self.set), self.only.as_deref()),
            None => explain(&snapshot, self.only.as_deref()),
        };
        let report = report.unwrap();
        let options = TableOptions {
            wide: self.ask == "wide",
            all: self.ask == "all",
            colours: self.ask == "colours",
        };
        match &*self.ask {
            "json" => serde_json::to_string_pretty(&report).unwrap(),
            _ => render(&report, snapshot.now, options),
        }
    }
}

fn image(set: &Value) -> &str {
    let image = set.pointer("/spec/template/spec/containers/0/image");
    image.unwrap().as_str().unwrap()
}

fn set() -> Value {
    json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "set", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "c", "image": "v1"}]}}},
        "status": {"observedGeneration": 1},
    })
}

fn number(value: &str) -> Value {
    value
        .parse::<i64>()
        .map_or_else(|_| json!(value), |n| json!(n))
}

fn described(mut set: Value, words: &[&str]) -> Value {
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let spec = &mut set["spec"]["template"]["spec"];
        match key {
            "image" => spec["containers"][0]["image"] = json!(value),
            "cpu" | "memory" | "gpu" => {
                spec["containers"][0]["resources"]["requests"][key] = json!(value);
            }
            "port" => {
                let port = json!([{"containerPort": 80, "hostPort": number(value)}]);
                spec["containers"][0]["ports"] = port;
            }
            "nodename" => spec["nodeName"] = json!(value),
            "select" => {
                let (key, value) = value.split_once(':').unwrap();
                spec["nodeSelector"][key] = json!(value);
            }
            "affinity" => {
                let terms: Vec<Value> = value.split('|').map(term).collect();
                spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                    json!({"nodeSelectorTerms": terms});
            }
            "tolerate" => spec["tolerations"] = json!([{"key": value, "operator": "Exists"}]),
            "ondelete" => set["spec"]["updateStrategy"] = json!({"type": "OnDelete"}),
            "unavailable" => {
                set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = number(value);
            }
            "surge" => {
                let limits = json!({"maxSurge": number(value), "maxUnavailable": 0});
                set["spec"]["updateStrategy"]["rollingUpdate"] = limits;
            }
            "minready" => set["spec"]["minReadySeconds"] = number(value),
            "unobserved" => set["status"]["observedGeneration"] = json!(0),
            "deleting" => set["metadata"]["deletionTimestamp"] = json!(ago(5)),
            // desired/current/updated/ready/available
            "status" => {
                let numbers: Vec<Value> = value.split('/').map(number).collect();
                let generation = set["metadata"]["generation"].clone();
                set["status"] = json!({
                    "observedGeneration": generation, "desiredNumberScheduled": numbers[0],
                    "currentNumberScheduled": numbers[1], "updatedNumberScheduled": numbers[2],
                    "numberReady": numbers[3], "numberAvailable": numbers[4],
                });
            }
            other => panic!("what is `{other}`?"),
        }
    }
    set
}

/// `disk:In:ssd,nvme&zone:Exists`, or `@:In:NODE` for a field.
fn term(text: &str) -> Value {
    let mut term = json!({});
    for test in text.split('&') {
        let mut parts = test.split(':');
        let (key, operator) = (parts.next().unwrap(), parts.next().unwrap());
        let values: Vec<&str> = parts
            .next()
            .map(|v| v.split(',').collect())
            .unwrap_or_default();
        let (list, key) = match key {
            "@" => ("matchFields", "metadata.name"),
            key => ("matchExpressions", key),
        };
        let mut test = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            test["values"] = json!(values);
        }
        match term[list].as_array_mut() {
            Some(tests) => tests.push(test),
            None => term[list] = json!([test]),
        }
    }
    term
}

fn node(words: &[&str]) -> Value {
    let name = words[0];
    let mut node = json!({
        "metadata": {"name": name, "uid": format!("node-{name}"), "labels": {}},
        "spec": {"taints": []},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    for word in &words[1..] {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "taint" => {
                let (key, effect) = value.split_once(':').unwrap();
                let (key, value) = key.split_once('=').unwrap_or((key, ""));
                let taint = json!({"key": key, "value": value, "effect": effect});
                node["spec"]["taints"].as_array_mut().unwrap().push(taint);
            }
            "cordoned" => node["spec"]["unschedulable"] = json!(true),
            "notready" => {
                node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown",
                    "reason": "NodeStatusUnknown", "lastTransitionTime": ago(300)}]);
            }
            "cpu" | "memory" | "pods" => node["status"]["allocatable"][key] = json!(value),
            label => node["metadata"]["labels"][label] = json!(value),
        }
    }
    node
}

/// `pod NODE IMAGE words`.
fn pod(words: &[&str]) -> Value {
    let (node, image) = (words[0], words[1]);
    let name = format!("agent-{node}-{image}");
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "creationTimestamp": ago(3600),
            "labels": {"app": "agent", "controller-revision-hash": image},
            "ownerReferences": [{"kind": "DaemonSet", "uid": "set", "controller": true}]},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": image,
            "readinessProbe": {}}]},
        "status": {"phase": "Pending"},
    });
    for word in &words[2..] {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let value = value.replace('_', " ");
        match key {
            "ready" | "fresh" => {
                let since = if key == "ready" { ago(3000) } else { ago(5) };
                pod["status"] = json!({"phase": "Running", "conditions":
                    [{"type": "Ready", "status": "True", "lastTransitionTime": since}]});
            }
            "unready" => {
                pod["status"] = json!({"phase": "Running",
                    "conditions": [{"type": "Ready", "status": "False",
                        "reason": "ContainersNotReady", "lastTransitionTime": ago(60)}],
                    "containerStatuses": [{"name": "c", "image": image, "ready": false,
                        "started": true, "state": {"running": {}}}]});
            }
            "waiting" => {
                let (reason, message) = value.split_once(':').unwrap_or((&value, ""));
                pod["status"]["containerStatuses"] = json!([{"name": "c", "image": image,
                    "state": {"waiting": {"reason": reason, "message": message}}}]);
            }
            "crashed" => {
                let status = &mut pod["status"]["containerStatuses"][0];
                status["lastState"]["terminated"] = json!({"exitCode": number(&value),
                    "reason": "Error", "finishedAt": ago(90)});
                status["restartCount"] = json!(4);
            }
            "failed" => {
                let (reason, message) = value.split_once(':').unwrap_or((&value, ""));
                pod["status"] = json!({"phase": "Failed", "reason": reason, "message": message});
            }
            "succeeded" => pod["status"] = json!({"phase": "Succeeded"}),
            "ending" => pod["metadata"]["deletionTimestamp"] = json!(ago(10)),
            "orphan" => pod["metadata"]["ownerReferences"] = json!([]),
            "young" => pod["metadata"]["creationTimestamp"] = json!(ago(3)),
            "unbound" => {
                let test = json!({"key": "metadata.name", "operator": "In", "values": [node]});
                let required = json!({"nodeSelectorTerms": [{"matchFields": [test]}]});
                pod["spec"] = json!({"containers": [], "affinity": {"nodeAffinity":
                    {"requiredDuringSchedulingIgnoredDuringExecution": required}}});
                if !value.is_empty() {
                    pod["status"]["conditions"] = json!([{"type": "PodScheduled",
                        "status": "False", "reason": "Unschedulable", "message": value}]);
                }
            }
            other => panic!("what is `{other}`?"),
        }
    }
    pod
}

/// `other NODE NAME words`: a pod of another owner.
fn other(words: &[&str]) -> Value {
    let mut pod = json!({
        "metadata": {"name": words[1], "namespace": "kube-system", "uid": words[1]},
        "spec": {"nodeName": words[0], "containers": [{"name": "c"}]},
        "status": {"phase": "Running"},
    });
    for word in &words[2..] {
        let (key, value) = word.split_once('=').unwrap();
        let container = &mut pod["spec"]["containers"][0];
        match key {
            "port" => container["ports"] = json!([{"containerPort": 1, "hostPort": number(value)}]),
            _ => container["resources"]["requests"][key] = json!(value),
        }
    }
    pod
}

//! Clusters and plans as text: one line for each object, and one line for each action.

use pandaemon_planner::{
    Action, Failure, FailureKind, Options, Patch, Plan, SetKey, Status, revision_text,
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ready_at, text};

/// A cluster that is described and changed by lines of text, and whose plans are printed as text.
pub(crate) struct TextCluster {
    pub(crate) cluster: Cluster,
    plan: Plan,
    show_status: bool,
    show_events: bool,
    show_objects: bool,
    show_nodes: bool,
}

impl TextCluster {
    pub(crate) fn new(bind: bool) -> Self {
        Self {
            cluster: Cluster::new(Options {
                bind,
                explain: true,
            }),
            plan: Plan::default(),
            show_status: false,
            show_events: false,
            show_objects: false,
            show_nodes: true,
        }
    }

    /// Interprets one line of a case.
    pub(crate) fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let Some(what) = words.next() else { return };
        let words: Vec<&str> = words.collect();
        match what {
            "show" => {
                self.show_status |= words.contains(&"status");
                self.show_events |= words.contains(&"events");
                self.show_objects |= words.contains(&"objects");
                self.show_nodes &= !words.contains(&"no-nodes");
            }
            "wait" => self.cluster.now = self.cluster.now.plus_seconds(words[0].parse().unwrap()),
            "set" => self.set(&words),
            "set-" => self.cluster.drop_set(words[0]),
            "node" => self.node(&words),
            "node-" => self.cluster.drop_node(words[0]),
            "pod" => self.pod(&words),
            "pod-" => {
                for name in self.named(words[0]) {
                    self.cluster.drop_pod(&name);
                }
            }
            "rev-" => {
                let name = words[0].replace("HASH", &self.new_hash("agent"));
                self.cluster.drop_revision(&name);
            }
            "rev" => self.revision(words[0], words[1], words[2].parse().unwrap(), &words[3..]),
            "do" => {
                let plan = std::mem::take(&mut self.plan);
                self.cluster.perform(&plan);
            }
            "fail" => self.fail(words[0], words.get(1).copied()),
            "kubelets" => drop(self.cluster.run_kubelets()),
            "settle" => drop(self.cluster.settle()),
            other => panic!("what is `{other}`?"),
        }
    }

    /// The pod of that name, or all pods of the node of that name.
    fn named(&self, word: &str) -> Vec<String> {
        let on = |(name, pod): &(&String, &Value)| *name == word || Cluster::place(pod) == word;
        self.cluster
            .pods
            .iter()
            .filter(on)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Every action of the last plan fails, or only those of the set `of`, or of the node or pod in
    /// `on=NAME`.
    fn fail(&mut self, how: &str, of: Option<&str>) {
        let kind = match how {
            "refused" => FailureKind::Refused,
            "unclear" | "lost" => FailureKind::Unclear,
            "terminating" => FailureKind::NamespaceTerminating,
            other => panic!("what is `{other}`?"),
        };
        let plan = std::mem::take(&mut self.plan);
        let (failing, fine): (Vec<Action>, Vec<Action>) = plan
            .actions
            .into_iter()
            .partition(|action| of.is_none_or(|of| concerns(action, of)));
        let rest = Plan {
            actions: fine,
            ..Plan::default()
        };
        self.cluster.perform(&rest);
        for action in &failing {
            if how == "lost" {
                drop(self.cluster.carry_out(action));
            }
            let failure = Failure {
                kind,
                message: "no".to_owned(),
                retry_after: 0,
            };
            self.cluster.report(action, Err(failure));
        }
    }

    fn set(&mut self, words: &[&str]) {
        let name = words[0];
        let old = self.cluster.sets.get(name).cloned();
        let mut set = old.clone().unwrap_or_else(|| {
            json!({
                "metadata": {"name": name, "namespace": "ns", "uid": format!("set-{name}"),
                    "generation": 0},
                "spec": {"selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": {"app": name}},
                        "spec": {"containers": [{"name": "c", "image": "v1"}]}}},
            })
        });
        let mut revision = true;
        for word in &words[1..] {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || {
                value
                    .parse::<i64>()
                    .map_or_else(|_| json!(value), |n| json!(n))
            };
            let spec = &mut set["spec"];
            match key {
                "unavailable" => {
                    spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = number();
                }
                "surge" => spec["updateStrategy"]["rollingUpdate"]["maxSurge"] = number(),
                "ondelete" => spec["updateStrategy"]["type"] = json!("OnDelete"),
                "minready" => spec["minReadySeconds"] = number(),
                "history" => spec["revisionHistoryLimit"] = number(),
                "selector" => spec["selector"] = selector(name, value),
                "image" | "select" | "cpu" | "critical" | "command" | "expr" | "orexpr"
                | "field" | "prefer" | "tolerates" | "hostnet" | "nodename" | "note" | "label"
                | "hostport" => {
                    template(&mut spec["template"], key, value);
                }
                "match" => {
                    spec["selector"] = json!({"matchLabels": {"app": value}});
                    spec["template"]["metadata"]["labels"]["app"] = json!(value);
                }
                "rolling" => spec["updateStrategy"] = json!({"type": "RollingUpdate"}),
                "status" => set["status"]["numberReady"] = number(),
                "change-cause" => {
                    set["metadata"]["annotations"]["kubernetes.io/change-cause"] = json!(value);
                }
                "recreated" => {
                    set["metadata"]["uid"] = json!(format!("set-{name}-{value}"));
                    set["metadata"]["generation"] = json!(0);
                    set["status"] = json!({});
                }
                "deleting" => set["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
                "tg" => {
                    let name = "deprecated.daemonset.template.generation";
                    set["metadata"]["annotations"][name] = json!(value);
                }
                "norev" => revision = false,
                other => panic!("what is `{other}`?"),
            }
        }
        if old.as_ref().is_none_or(|old| old["spec"] != set["spec"]) {
            let generation = set["metadata"]["generation"].as_i64().unwrap_or(0);
            set["metadata"]["generation"] = json!(generation + 1);
        }
        let image = text(&set, "/spec/template/spec/containers/0/image").to_owned();
        let uid = text(&set, "/metadata/uid").to_owned();
        if old.is_some_and(|old| text(&old, "/metadata/uid") != uid) {
            self.cluster.drop_set(name);
        }
        self.cluster.put_set(set);
        let known = self
            .cluster
            .revisions
            .values()
            .any(|revision| text(revision, "/metadata/name") == format!("{name}-{image}"));
        if revision && !known {
            let number = self.cluster.revisions.len() + 1;
            self.revision(name, &image, i64::try_from(number).unwrap(), &[]);
        }
    }

    /// A revision whose hash is the name of the image.
    fn revision(&mut self, set: &str, image: &str, number: i64, words: &[&str]) {
        let mut template = self.cluster.sets[set]["spec"]["template"].clone();
        template["spec"]["containers"][0]["image"] = json!(image);
        template["$patch"] = json!("replace");
        template["metadata"]["creationTimestamp"] = Value::Null;
        let owner = text(&self.cluster.sets[set], "/metadata/uid").to_owned();
        let mut name = format!("{set}-{image}");
        let mut namespace = "ns";
        let mut labels = json!({"app": set, "controller-revision-hash": image});
        let mut owners = json!([{"kind": "DaemonSet", "uid": owner, "controller": true}]);
        for word in words {
            match *word {
                "orphan" => owners = json!([]),
                "unlabelled" => labels = json!({"app": set}),
                "foreign" => {
                    owners = json!([{"kind": "DaemonSet", "uid": "x", "controller": true}]);
                }
                "elsewhere" => namespace = "other",
                "mismatched" => labels["app"] = json!("else"),
                "other" => template["spec"]["containers"][0]["image"] = json!("other"),
                word => {
                    let hash = word.strip_prefix("hash=").unwrap();
                    let hash = if hash == "new" {
                        self.new_hash(set)
                    } else {
                        hash.to_owned()
                    };
                    name = format!("{set}-{hash}");
                    labels["controller-revision-hash"] = json!(hash);
                }
            }
        }
        self.cluster.put_revision(json!({
            "metadata": {"name": name, "namespace": namespace, "uid": format!("rev-{name}"),
                "labels": labels, "ownerReferences": owners},
            "data": {"spec": {"template": template}},
            "revision": number,
        }));
    }

    /// The hash that a new revision of the set would get, read from the plan of an empty planner.
    fn new_hash(&self, set: &str) -> String {
        let mut planner = crate::cluster::listed_planner(Options::default());
        let view = serde_json::from_value(self.cluster.sets[set].clone()).unwrap();
        planner.observe(
            pandaemon_planner::Event::Set(Box::new(view)),
            self.cluster.now,
        );
        let plan = planner.plan(self.cluster.now);
        let hash = plan.actions.iter().find_map(|action| match action {
            Action::CreateRevision { object, .. } => {
                Some(object["metadata"]["labels"]["controller-revision-hash"].clone())
            }
            _ => None,
        });
        hash.unwrap().as_str().unwrap().to_owned()
    }

    fn node(&mut self, words: &[&str]) {
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
                "notready" => node["status"]["conditions"] = json!([]),
                "cpu" => node["status"]["allocatable"]["cpu"] = json!(value),
                label => node["metadata"]["labels"][label] = json!(value),
            }
        }
        self.cluster.put_node(node);
    }

    /// `pod NODE [IMAGE] words`: a new pod, or changes of the pods of that node.
    fn pod(&mut self, words: &[&str]) {
        let named = words.iter().find_map(|word| word.strip_prefix("name="));
        let found = named.map_or_else(|| self.named(words[0]), |name| self.named(name));
        let is_change = words.get(1).is_some_and(|word| !word.starts_with('v'));
        if is_change {
            for name in found {
                let mut pod = self.cluster.pods[&name].clone();
                self.describe(&mut pod, &words[1..]);
                self.cluster.put_pod(pod);
            }
            return;
        }
        let set = words
            .iter()
            .find_map(|word| word.strip_prefix("set="))
            .unwrap_or("agent");
        let name = named.map_or_else(|| format!("{set}-{}", words[0]), str::to_owned);
        let created = self.cluster.now.plus_seconds(-3600).to_string();
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": format!("pod-{name}"),
                "labels": {"app": set, "controller-revision-hash": words[1]},
                "creationTimestamp": created,
                "ownerReferences": [{"kind": "DaemonSet", "uid": format!("set-{set}"),
                    "controller": true}]},
            "spec": {"nodeName": words[0], "containers": []},
            "status": {"phase": "Pending"},
        });
        self.describe(&mut pod, &words[2..]);
        self.cluster.put_pod(pod);
    }

    fn describe(&self, pod: &mut Value, words: &[&str]) {
        let now = self.cluster.now;
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "ready" => pod["status"] = ready_at(now.plus_seconds(-600)),
                "fresh" => pod["status"] = ready_at(now),
                "future" => pod["status"] = ready_at(now.plus_seconds(600)),
                "unready" => pod["status"] = json!({"phase": "Running"}),
                "pending" => pod["status"] = json!({"phase": "Pending"}),
                "failed" => pod["status"] = json!({"phase": "Failed"}),
                "unhashed" => {
                    let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
                    labels.remove("controller-revision-hash");
                }
                "foreign" => pod["metadata"]["ownerReferences"][0]["uid"] = json!("x"),
                "nowhere" => pod["spec"] = json!({"containers": []}),
                "succeeded" => pod["status"] = json!({"phase": "Succeeded"}),
                "ending" => pod["metadata"]["deletionTimestamp"] = json!(now.to_string()),
                "orphan" => pod["metadata"]["ownerReferences"] = json!([]),
                "young" => pod["metadata"]["creationTimestamp"] = json!(now.to_string()),
                "unbound" => {
                    let node = pod["spec"]["nodeName"].take();
                    let test = json!({"key": "metadata.name", "operator": "In", "values": [node]});
                    let required = json!({"nodeSelectorTerms": [{"matchFields": [test]}]});
                    pod["spec"] = json!({"containers": [], "affinity": {"nodeAffinity":
                        {"requiredDuringSchedulingIgnoredDuringExecution": required}}});
                }
                "cpu" => {
                    let requests = json!({"requests": {"cpu": value}});
                    pod["spec"]["containers"] = json!([{"name": "c", "resources": requests}]);
                }
                "app" => pod["metadata"]["labels"]["app"] = json!(value),
                "tg" => pod["metadata"]["labels"]["pod-template-generation"] = json!(value),
                "name" | "set" => {}
                other => panic!("what is `{other}`?"),
            }
        }
    }

    /// Plans, and returns the plan as text.
    pub(crate) fn plan(&mut self) -> String {
        self.plan = self.cluster.plan();
        let mut lines: Vec<String> = self
            .plan
            .actions
            .iter()
            .filter_map(|action| self.show(action))
            .collect();
        if self.show_nodes {
            for explanation in &self.plan.explanations {
                let (word, node, reason) = (
                    explanation.status.word(),
                    &explanation.node,
                    &explanation.status,
                );
                let set = other_than_agent(&explanation.set);
                lines.push(format!("{word} {node}{set} {reason}").trim_end().to_owned());
            }
        }
        if let Some(at) = self.plan.wake_at {
            lines.push(format!("wake in {} ms", at.millis_since(self.cluster.now)));
        }
        lines.join("\n")
    }

    fn show(&self, action: &Action) -> Option<String> {
        Some(match action {
            Action::CreatePod {
                node,
                name,
                bind,
                template,
                ..
            } if self.show_objects => {
                let pod: Value = serde_json::from_str(&template.render(name, node, *bind)).unwrap();
                format!(
                    "create {node}\n{}",
                    serde_json::to_string_pretty(&pod).unwrap()
                )
            }
            Action::PatchPod { pod, patch, .. } if self.show_objects => {
                let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
                format!("patch {} {body}", pod.name)
            }
            Action::CreateRevision { object, .. } if self.show_objects => {
                format!("revision {}", revision_text(object))
            }
            Action::CreatePod {
                set, node, bind, ..
            } => {
                let set = other_than_agent(set);
                format!("create {node}{set}{}", if *bind { " bound" } else { "" })
            }
            Action::DeletePod {
                node, pod, reason, ..
            } => format!("delete {node} {} {reason}", pod.name),
            Action::PatchPod { pod, purpose, .. } => {
                format!("{purpose:?} {}", pod.name).to_lowercase()
            }
            Action::CreateRevision { object, .. } => format!("revision {}", object["revision"]),
            Action::PatchRevision { name, patch, .. } => {
                let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
                let what = match body.pointer("/metadata/ownerReferences/0") {
                    Some(owner) if owner.get("$patch").is_some() => "released".to_owned(),
                    Some(_) => "adopted".to_owned(),
                    None => body.to_string(),
                };
                format!("revision {name} {what}")
            }
            Action::DeleteRevision { name, .. } => format!("revision {name} deleted"),
            Action::WriteStatus { set, status, .. } if self.show_status => {
                format!("status {} {}", set.name, show_status(status))
            }
            Action::Event {
                severity,
                reason,
                message,
                ..
            } if self.show_events => {
                format!("event {severity:?} {reason} {message}")
            }
            Action::WriteStatus { .. } | Action::Event { .. } => return None,
        })
    }
}

/// Whether an action is about a set, or about a node or patched pod if the word is `on=NAME`.
fn concerns(action: &Action, word: &str) -> bool {
    let Some(wanted) = word.strip_prefix("on=") else {
        return set_of(action) == word;
    };
    match action {
        Action::CreatePod { node, .. } | Action::DeletePod { node, .. } => &**node == wanted,
        Action::PatchPod { pod, .. } => &*pod.name == wanted,
        _ => false,
    }
}

fn set_of(action: &Action) -> &str {
    match action {
        Action::CreatePod { set, .. }
        | Action::DeletePod { set, .. }
        | Action::PatchPod { set, .. }
        | Action::CreateRevision { set, .. }
        | Action::PatchRevision { set, .. }
        | Action::DeleteRevision { set, .. }
        | Action::WriteStatus { set, .. }
        | Action::Event { set, .. } => &set.name,
    }
}

/// The name of a set with a leading space; empty for the usual one, `agent`.
fn other_than_agent(set: &SetKey) -> String {
    if &*set.name == "agent" {
        String::new()
    } else {
        format!(" {}", set.name)
    }
}

/// A selector that selects everything, the pods of a set, or cannot be read.
fn selector(set: &str, word: &str) -> Value {
    match word {
        "" => json!({}),
        "good" => json!({"matchLabels": {"app": set}}),
        _ => {
            let test = json!({"key": "app", "operator": "Near", "values": [set]});
            json!({"matchExpressions": [test]})
        }
    }
}

/// Applies one `key=value` word to a pod template.
fn template(template: &mut Value, key: &str, value: &str) {
    let parts: Vec<&str> = value.splitn(3, ':').collect();
    let test = || {
        let values: Vec<&str> = parts
            .get(2)
            .map_or_else(Vec::new, |v| v.split(',').collect());
        json!({"key": parts[0], "operator": parts[1], "values": values})
    };
    let spec = &mut template["spec"];
    match key {
        "expr" | "orexpr" | "field" => {
            let list = if key == "field" {
                "matchFields"
            } else {
                "matchExpressions"
            };
            let required = &mut spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                ["nodeSelectorTerms"];
            if required.is_null() {
                *required = json!([]);
            }
            let terms = required.as_array_mut().unwrap();
            if terms.is_empty() || key == "orexpr" {
                terms.push(json!({}));
            }
            let tests = &mut terms.last_mut().unwrap()[list];
            if tests.is_null() {
                *tests = json!([]);
            }
            if !value.is_empty() {
                tests.as_array_mut().unwrap().push(test());
            }
        }
        "prefer" => {
            let term = json!({"weight": 1, "preference": {"matchExpressions": [test()]}});
            spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
                json!([term]);
        }
        "tolerates" => {
            let mut toleration = json!({"key": parts[0], "effect": parts[1]});
            match parts.get(2) {
                Some(value) => toleration["value"] = json!(value),
                None => toleration["operator"] = json!("Exists"),
            }
            if spec["tolerations"].is_null() {
                spec["tolerations"] = json!([]);
            }
            spec["tolerations"].as_array_mut().unwrap().push(toleration);
        }
        "image" => spec["containers"][0]["image"] = json!(value),
        "select" => spec["nodeSelector"] = json!({parts[0]: parts[1]}),
        "cpu" => {
            spec["containers"][0]["resources"] = json!({"requests": {"cpu": value}});
        }
        "critical" => spec["priorityClassName"] = json!("system-node-critical"),
        "hostnet" => spec["hostNetwork"] = json!(true),
        "hostport" => {
            let port = value.parse::<u16>().unwrap();
            spec["containers"][0]["ports"] = json!([{"hostPort": port, "containerPort": port}]);
        }
        "nodename" => spec["nodeName"] = json!(value),
        "command" => spec["containers"][0]["command"] = json!([value]),
        "note" => template["metadata"]["annotations"]["note"] = json!(value),
        "label" => template["metadata"]["labels"]["more"] = json!(value),
        other => panic!("what is `{other}`?"),
    }
}

fn show_status(status: &Status) -> String {
    format!(
        "desired={} current={} ready={} updated={} available={} unavailable={} misscheduled={} \
         generation={} collisions={}",
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_ready,
        status.updated_number_scheduled,
        status.number_available,
        status.number_unavailable,
        status.number_misscheduled,
        status.observed_generation,
        status
            .collision_count
            .map_or_else(|| "none".to_owned(), |count| count.to_string()),
    )
}

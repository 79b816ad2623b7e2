//! Worlds as text: a few words for each object, and plans in the same few words.

use pandaemon_planner::{Action, Failure, FailureKind, Options, Plan, Status};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ready_at, text};

/// A cluster that is described, changed and shown in text.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    plan: Plan,
    show_status: bool,
    show_events: bool,
    show_verdicts: bool,
}

impl World {
    pub(crate) fn new(bind: bool) -> Self {
        Self {
            cluster: Cluster::new(Options {
                bind,
                verdicts: true,
            }),
            plan: Plan::default(),
            show_status: false,
            show_events: false,
            show_verdicts: true,
        }
    }

    /// Takes in one line.
    pub(crate) fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let Some(what) = words.next() else { return };
        let words: Vec<&str> = words.collect();
        match what {
            "show" => {
                self.show_status |= words.contains(&"status");
                self.show_events |= words.contains(&"events");
                self.show_verdicts &= !words.contains(&"no-verdicts");
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
            "rev" => self.revision(words[0], words[1], words[2].parse().unwrap(), &words[3..]),
            "do" => {
                let plan = std::mem::take(&mut self.plan);
                self.cluster.perform(&plan);
            }
            "fail" => self.fail(words[0]),
            "kubelets" => drop(self.cluster.run_kubelets()),
            "settle" => drop(self.cluster.settle()),
            other => panic!("what is `{other}`?"),
        }
    }

    /// Pods by name, or all of a node.
    fn named(&self, word: &str) -> Vec<String> {
        let on = |(name, pod): &(&String, &Value)| *name == word || Cluster::place(pod) == word;
        self.cluster
            .pods
            .iter()
            .filter(on)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Every action of the last plan fails.
    fn fail(&mut self, how: &str) {
        let kind = match how {
            "refused" => FailureKind::Refused,
            "unclear" | "lost" => FailureKind::Unclear,
            "terminating" => FailureKind::NamespaceTerminating,
            other => panic!("what is `{other}`?"),
        };
        let plan = std::mem::take(&mut self.plan);
        for action in &plan.actions {
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
                "image" => spec["template"]["spec"]["containers"][0]["image"] = json!(value),
                "unavailable" => {
                    spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = number();
                }
                "surge" => spec["updateStrategy"]["rollingUpdate"]["maxSurge"] = number(),
                "ondelete" => spec["updateStrategy"]["type"] = json!("OnDelete"),
                "minready" => spec["minReadySeconds"] = number(),
                "history" => spec["revisionHistoryLimit"] = number(),
                "select" => {
                    let (key, value) = value.split_once(':').unwrap();
                    spec["template"]["spec"]["nodeSelector"] = json!({key: value});
                }
                "selector" => spec["selector"] = json!({}),
                "cpu" => {
                    let requests = json!({"requests": {"cpu": value}});
                    spec["template"]["spec"]["containers"][0]["resources"] = requests;
                }
                "critical" => {
                    let class = json!("system-node-critical");
                    spec["template"]["spec"]["priorityClassName"] = class;
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
        if old.is_none_or(|old| old["spec"] != set["spec"]) {
            let generation = set["metadata"]["generation"].as_i64().unwrap_or(0);
            set["metadata"]["generation"] = json!(generation + 1);
        }
        let image = text(&set, "/spec/template/spec/containers/0/image").to_owned();
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
        let mut name = format!("{set}-{image}");
        let mut labels = json!({"app": set, "controller-revision-hash": image});
        let mut owners = json!([{"kind": "DaemonSet", "uid": format!("set-{set}"),
            "controller": true}]);
        for word in words {
            match *word {
                "orphan" => owners = json!([]),
                "unlabelled" => labels = json!({"app": set}),
                word => {
                    let hash = word.strip_prefix("hash=").unwrap();
                    name = format!("{set}-{hash}");
                    labels["controller-revision-hash"] = json!(hash);
                }
            }
        }
        self.cluster.put_revision(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": format!("rev-{name}"),
                "labels": labels, "ownerReferences": owners},
            "data": {"spec": {"template": template}},
            "revision": number,
        }));
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
                    let taint = json!({"key": key, "effect": effect});
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

    /// Plans, and says the plan.
    pub(crate) fn plan(&mut self) -> String {
        self.plan = self.cluster.plan();
        let mut lines: Vec<String> = self
            .plan
            .actions
            .iter()
            .filter_map(|action| self.show(action))
            .collect();
        if self.show_verdicts {
            for verdict in &self.plan.verdicts {
                let (word, node, why) = (verdict.stance.word(), &verdict.node, &verdict.stance);
                lines.push(format!("{word} {node} {why}").trim_end().to_owned());
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
                set, node, bind, ..
            } => {
                let set = if &*set.name == "agent" {
                    String::new()
                } else {
                    format!(" {}", set.name)
                };
                format!("create {node}{set}{}", if *bind { " bound" } else { "" })
            }
            Action::DeletePod { node, pod, why, .. } => format!("delete {node} {} {why}", pod.name),
            Action::PatchPod { pod, purpose, .. } => {
                format!("{purpose:?} {}", pod.name).to_lowercase()
            }
            Action::CreateRevision { object, .. } => format!("revision {}", object["revision"]),
            Action::PatchRevision { name, patch, .. } => {
                let (pandaemon_planner::Patch::Merge(body)
                | pandaemon_planner::Patch::Strategic(body)) = patch;
                let what = match body.pointer("/metadata/ownerReferences") {
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

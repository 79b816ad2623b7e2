//! Lines that describe objects or change them.

use pandaemon_planner::{Action, Options};
use serde_json::{Value, json};

use super::TextCluster;
use crate::cluster::{ready_at, text};

impl TextCluster {
    pub(super) fn set(&mut self, words: &[&str]) {
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
    pub(super) fn revision(&mut self, set: &str, image: &str, number: i64, words: &[&str]) {
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
    pub(super) fn new_hash(&self, set: &str) -> String {
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

    pub(super) fn node(&mut self, words: &[&str]) {
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
    pub(super) fn pod(&mut self, words: &[&str]) {
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

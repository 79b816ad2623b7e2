//! A planner, and as much of a cluster as benches need to carry out its plans.

use std::{collections::VecDeque, sync::Arc};

use pandaemon_planner::{
    Action, DaemonSetView, Event, Options, Planner, PodTemplate, Reply, RevisionView,
};
use pandaemon_types::{Name, NodeView, Phase, PodView, Timestamp, Uid};
use serde::Deserialize as _;
use serde_json::{Value, json};

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// How many events are observed between two plans.
const BATCH: usize = 16;

/// A node as a cloud provider's cluster has them: 14 labels, of which one is its own.
pub(crate) fn node(number: usize, disk: &str) -> NodeView {
    let name = format!("ip-10-{}-{}.internal", number / 1000, number % 1000);
    let zone = format!("eu-central-1{}", ["a", "b", "c"][number % 3]);
    let kind = ["m6i.large", "m6i.xlarge", "c6i.2xlarge"][number / 7 % 3];
    let node = json!({
        "metadata": {"name": name, "uid": uuid("node", number), "labels": {
            "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/instance-type": kind, "disk": disk,
            "failure-domain.beta.kubernetes.io/region": "eu-central-1",
            "failure-domain.beta.kubernetes.io/zone": zone,
            "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": kind,
            "node.example.com/pool": format!("pool-{}", number % 5),
            "topology.kubernetes.io/region": "eu-central-1",
            "topology.kubernetes.io/zone": zone, "topology.ebs.csi.aws.com/zone": zone}},
        "spec": {"taints": if number.is_multiple_of(10) {
            json!([{"key": "example.com/batch", "value": "yes", "effect": "NoSchedule"}])
        } else {
            json!([])
        }},
        "status": {"allocatable": {"cpu": "3920m", "memory": "15Gi", "pods": "110",
            "ephemeral-storage": "95551679124"}, "conditions": [{"type": "Ready", "status": "True"}]},
    });
    // Decoded from text, as from a server.
    serde_json::from_str(&node.to_string()).unwrap()
}

fn uuid(kind: &str, number: usize) -> String {
    // Spread like random version 4 UUIDs.
    let spread = (number as u64 + kind.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        "{:08x}-{:04x}-4000-8000-{number:012x}",
        spread >> 32,
        (spread >> 16) & 0xffff
    )
}

/// The DaemonSet: it tolerates what the nodes have.
pub(crate) fn daemon_set(image: &str, generation: i64, unavailable: &str) -> DaemonSetView {
    let set = json!({
        "metadata": {"name": "node-agent", "namespace": "kube-system", "uid": uuid("set", 1),
            "generation": generation,
            "annotations": {"deprecated.daemonset.template.generation": generation.to_string()}},
        "spec": {"selector": {"matchLabels": {"app": "node-agent"}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": unavailable}},
            "template": {"metadata": {"labels": {"app": "node-agent"}}, "spec": {
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "c", "image": image,
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}},
    });
    DaemonSetView::deserialize(&set).unwrap()
}

/// A planner and the cluster that carries out its plans.
pub(crate) struct BenchCluster {
    pub(crate) planner: Planner,
    pub(crate) version: u64,
    pub(crate) events: VecDeque<Event>,
    /// A pod as the server decodes it, and the template it was made from.
    pub(crate) sample: Option<(Arc<PodTemplate>, PodView)>,
    /// The pods in the order of their creation.
    pub(crate) pods: Vec<PodView>,
    pub(crate) last: Vec<Action>,
    /// Whether pods are decoded one by one, as from a server.
    pub(crate) decode: bool,
}

impl BenchCluster {
    pub(crate) fn new(nodes: usize) -> Self {
        let mut planner = Planner::new(Options {
            bind: true,
            explain: false,
        });
        planner.mark_listed();
        let nodes = (0..nodes).map(|number| Event::Node(node(number, "ssd")));
        nodes.for_each(|node| planner.observe(node, NOW));
        Self {
            planner,
            version: 0,
            events: VecDeque::new(),
            sample: None,
            pods: Vec::new(),
            last: Vec::new(),
            decode: false,
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.planner.observe(event, NOW);
    }

    pub(crate) fn plan(&mut self) -> Vec<Action> {
        self.planner.plan(NOW).actions
    }

    /// Plans, carries out and delivers the outcomes until the plan is empty. Returns the number of
    /// actions.
    pub(crate) fn settle(&mut self) -> usize {
        let mut done = 0;
        loop {
            let actions = self.plan();
            if actions.is_empty() && self.events.is_empty() {
                return done;
            }
            done += actions.len();
            for action in actions {
                self.carry_out(action);
            }
            let batch = BATCH.min(self.events.len());
            for event in self.events.drain(..batch) {
                self.planner.observe(event, NOW);
            }
        }
    }

    /// Plans once and carries out. Returns the number of actions.
    pub(crate) fn step(&mut self) -> usize {
        let actions = self.plan();
        let done = actions.len();
        for action in actions {
            self.carry_out(action);
        }
        for event in std::mem::take(&mut self.events) {
            self.planner.observe(event, NOW);
        }
        done
    }

    pub(crate) fn carry_out(&mut self, action: Action) {
        self.version += 1;
        let (reply, later) = match &action {
            Action::CreatePod {
                node,
                name,
                bind,
                template,
                ..
            } => {
                let pod = self.pod(template, name, node, *bind);
                let mut ready = pod.clone();
                ready.resource_version = self.version + 1;
                self.version += 1;
                (ready.phase, ready.ready) = (Phase::Running, true);
                ready.ready_since = Some(NOW);
                self.pods.push(ready.clone());
                // The watch delivers the new pod, and then its readiness.
                let events = [pod.clone(), ready].map(|pod| Event::Pod(Box::new(pod)));
                (Reply::Pod(Box::new(pod)), events.into())
            }
            Action::DeletePod { pod, .. } => {
                let gone = Event::PodGone {
                    uid: pod.uid.clone(),
                    resource_version: self.version + 1,
                };
                self.version += 1;
                (Reply::Done, vec![gone])
            }
            Action::CreateRevision { object, .. } => {
                let mut view: RevisionView = serde_json::from_value(object.clone()).unwrap();
                // The planner ignores replies with a version older than what the watch has
                // delivered.
                view.resource_version = self.version;
                (Reply::Revision(Box::new(view)), Vec::new())
            }
            _ => (Reply::Done, Vec::new()),
        };
        let action = Box::new(action);
        let result = Ok(reply);
        self.events.push_back(Event::Outcome { action, result });
        self.events.extend(later);
    }

    /// The pod as the server returns it.
    fn pod(
        &mut self,
        template: &Arc<PodTemplate>,
        name: &Name,
        node: &Name,
        bind: bool,
    ) -> PodView {
        let mut pod = match &self.sample {
            Some((of, sample)) if Arc::ptr_eq(of, template) && !self.decode => sample.clone(),
            _ => {
                let mut pod: Value =
                    serde_json::from_str(&template.render(name, node, bind)).unwrap();
                pod["metadata"]["creationTimestamp"] = json!(NOW.to_string());
                let view: PodView = serde_json::from_str(&pod.to_string()).unwrap();
                self.sample = Some((Arc::clone(template), view.clone()));
                view
            }
        };
        let spread =
            u128::from(self.version).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        pod.uid = Uid::Uuid(spread.to_be_bytes());
        pod.name = Name::from(&**name);
        pod.node = Some(Name::from(&**node));
        pod.target = pod.node.clone();
        pod.resource_version = self.version;
        pod
    }
}

//! Node events.

use pandaemon_placement::daemon_fit;
use pandaemon_types::{Name, NodeView};

use crate::{ids::NodeId, node_state::Placement, planner::Planner, set::Set};

impl Planner {
    pub(crate) fn apply_node(&mut self, mut view: NodeView) {
        let id = self.nodes.id(&view.name);
        let known = self.nodes.node(id);
        if known.is_some_and(|known| *known == view) {
            return;
        }
        view.name = self.nodes.name(id);
        view.labels = self.interner.labels_of(&view.labels, &view.name);
        view.allocatable = self.interner.node_resources(&view.allocatable);
        view.taints.shrink_to_fit();
        for (key, set) in &mut self.sets {
            let placement = Placement::from(&daemon_fit(&set.needs, &view));
            if set.set_placement(id, placement) {
                self.dirty.insert(key.clone());
            } else if self.options.explain {
                set.touch(id);
                self.dirty.insert(key.clone());
            }
        }
        self.nodes.put(id, view);
        self.maybe_sweep();
    }

    pub(crate) fn remove_node(&mut self, name: &Name) {
        let Some(id) = self.nodes.find(name) else {
            return;
        };
        if self.nodes.take(id).is_none() {
            return;
        }
        for (key, set) in &mut self.sets {
            if set.set_placement(id, Placement::NoNode) {
                self.dirty.insert(key.clone());
            }
        }
        self.forget_if_unused(id);
        self.maybe_sweep();
    }

    /// Forgets a node that does not exist once no pod and no set refers to it. Costs a look at each
    /// set.
    pub(crate) fn forget_if_unused(&mut self, id: NodeId) {
        let is_known = |set: &Set| set.nodes.get(id).is_some();
        if self.nodes.is_unused(id) && !self.sets.values().any(is_known) {
            self.nodes.forget(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use pandaemon_types::{PodView, Timestamp};
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;
    use crate::{event::Event, planner::Options, view::DaemonSetView};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn node(name: &str) -> Event {
        let object = json!({"metadata": {"name": name, "uid": name}});
        Event::Node(NodeView::deserialize(&object).unwrap())
    }

    fn pod(name: &str, node: &str) -> Event {
        let object = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "a"},
                "ownerReferences": [{"kind": "DaemonSet", "uid": "s", "controller": true}]},
            "spec": {"nodeName": node},
        });
        Event::Pod(Box::new(PodView::deserialize(&object).unwrap()))
    }

    #[test]
    fn a_deleted_node_is_forgotten_with_the_last_pod_on_it() {
        let mut planner = Planner::new(Options::default());
        planner.mark_listed();
        let set = json!({
            "metadata": {"name": "a", "namespace": "ns", "uid": "s", "generation": 1},
            "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {"spec": {}}},
        });
        let set = DaemonSetView::deserialize(&set).unwrap();
        planner.observe(Event::Set(Box::new(set)), NOW);
        for name in ["one", "two"] {
            planner.observe(node(name), NOW);
            planner.observe(pod(name, name), NOW);
        }
        planner.plan(NOW);
        // The pod first, or the node first.
        let gone = |name: &str| Event::PodGone {
            uid: name.into(),
            resource_version: 0,
        };
        planner.observe(gone("one"), NOW);
        for name in ["one", "two"] {
            let (name, uid) = (name.into(), name.into());
            planner.observe(Event::NodeGone { name, uid }, NOW);
        }
        planner.plan(NOW);
        assert!(planner.nodes.find("one").is_none() && planner.nodes.find("two").is_some());
        planner.observe(gone("two"), NOW);
        planner.plan(NOW);
        assert!(planner.nodes.find("two").is_none());
        // Its id is used again, without its state.
        planner.observe(node("three"), NOW);
        planner.plan(NOW);
        assert_eq!(planner.miscounted(NOW), []);
        assert_eq!(planner.known(), [1, 1, 0]);
    }
}

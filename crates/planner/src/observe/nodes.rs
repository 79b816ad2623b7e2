//! Node events.

use std::collections::BTreeSet;

use pandaemon_placement::daemon_fit;
use pandaemon_types::{Name, NodeView};

use crate::{ids::NodeId, node_state::Placement, planner::Planner, set::Set};

impl Planner {
    pub(crate) fn apply_node(&mut self, mut view: NodeView) {
        let number = self.nodes.id(&view.name);
        let known = self.nodes.node(number);
        if known.is_some_and(|known| *known == view) {
            return;
        }
        view.name = self.nodes.name(number);
        view.labels = self.interner.labels_of(&view.labels, &view.name);
        view.allocatable = self.interner.node_resources(&view.allocatable);
        view.taints.shrink_to_fit();
        for (key, set) in &mut self.sets {
            let placement = Placement::from(&daemon_fit(&set.needs, &view));
            if set.set_placement(number, placement) {
                self.dirty.insert(key.clone());
            } else if self.options.explain {
                set.touch(number);
                self.dirty.insert(key.clone());
            }
        }
        self.nodes.put(number, view);
        self.maybe_sweep();
    }

    pub(crate) fn remove_node(&mut self, name: &Name) {
        let Some(number) = self.nodes.find(name) else {
            return;
        };
        if self.nodes.take(number).is_none() {
            return;
        }
        for (key, set) in &mut self.sets {
            if set.set_placement(number, Placement::NoNode) {
                self.dirty.insert(key.clone());
            }
        }
        if self.nodes.needs_sweep() {
            let pods = self.pods.iter().filter_map(|(_, pod)| pod.place);
            let places: BTreeSet<NodeId> = pods.collect();
            let sets = &self.sets;
            let matters = |number| {
                let kept =
                    |set: &Set| set.nodes.get(number).is_some() || set.touched.contains(&number);
                places.contains(&number) || sets.values().any(kept)
            };
            self.nodes.sweep(matters);
        }
        self.maybe_sweep();
    }
}

//! Events: applies changes of objects, complete lists and outcomes of actions to the planner's
//! state.

mod nodes;
mod outcome;
mod pods;
mod revisions;
mod sets;

use pandaemon_types::{Name, Timestamp, Uid};

use crate::{
    event::{Event, Listed},
    planner::Planner,
};

impl Planner {
    /// Applies one event.
    pub fn observe(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Set(view) => self.apply_set(*view),
            Event::SetGone { key, uid } => {
                if self.sets.get(&key).is_some_and(|set| set.view.uid == uid) {
                    self.remove_set(&key);
                }
            }
            Event::Node(view) => self.apply_node(view),
            Event::NodeGone { name, uid } => {
                let node = self.nodes.find(&name).and_then(|id| self.nodes.node(id));
                if node.is_some_and(|node| node.uid == uid) {
                    self.remove_node(&name);
                }
            }
            Event::Pod(view) => {
                self.pods_seen = self.pods_seen.max(view.resource_version);
                self.apply_pod(*view, now);
            }
            Event::PodGone {
                uid,
                resource_version,
            } => {
                self.pods_seen = self.pods_seen.max(resource_version);
                self.remove_pod(&uid);
            }
            Event::Revision(view) => {
                self.revisions_seen = self.revisions_seen.max(view.resource_version);
                self.apply_revision(*view);
            }
            Event::RevisionGone {
                namespace,
                name,
                uid,
            } => self.remove_revision_of_uid(&(namespace, name), &uid),
            Event::Listed(listed) => self.listed(listed),
            Event::Outcome { action, result } => self.outcome(*action, result, now),
        }
    }

    fn listed(&mut self, listed: Listed) {
        let [sets, nodes, pods, revisions] = &mut self.listed;
        match &listed {
            Listed::Sets(_) => *sets = true,
            Listed::Nodes(_) => *nodes = true,
            Listed::Pods { .. } => *pods = true,
            Listed::Revisions(_) => *revisions = true,
        }
        match listed {
            Listed::Sets(keys) => {
                let gone: Vec<_> = self
                    .sets
                    .keys()
                    .filter(|k| !keys.contains(k))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| self.remove_set(key));
            }
            Listed::Nodes(names) => {
                let nodes = self.nodes.iter().map(|(_, node)| &node.name);
                let gone: Vec<Name> = nodes
                    .filter(|name| !names.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.remove_node(name));
            }
            Listed::Pods {
                uids,
                resource_version,
            } => {
                self.pods_seen = self.pods_seen.max(resource_version);
                let pods = self.pods.iter().map(|(_, pod)| pod);
                let gone: Vec<Uid> = pods
                    .filter(|pod| pod.resource_version <= resource_version)
                    .filter(|pod| !uids.contains(&pod.uid))
                    .map(|pod| pod.uid.clone())
                    .collect();
                gone.iter().for_each(|uid| self.remove_pod(uid));
                self.interner.sweep();
            }
            Listed::Revisions(keys) => {
                let gone: Vec<_> = self
                    .revisions
                    .keys()
                    .filter(|key| !keys.contains(*key))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| self.remove_revision(key));
            }
        }
    }
}

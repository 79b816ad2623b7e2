//! The state of a rolling update: which nodes use the budget, and which are next.

use pandaemon_types::{Labels as _, Name, PodView};

use crate::{
    canonical::{GENERATION_LABEL, HASH_LABEL},
    ids::NodeId,
    node_state::UpdateStep,
    planner::Planner,
    view::SetKey,
};

/// The state of a set's rolling update after a plan. Computed on request, for explanations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// The hash of the current template, once its revision exists.
    pub current: Option<Name>,
    /// Hashes of revisions with the same template.
    pub aliases: Vec<Name>,
    /// The template generation of old API versions.
    pub template_generation: Option<i64>,
    /// `maxUnavailable` as a number of nodes.
    pub limit_down: usize,
    /// `maxSurge` as a number of nodes.
    pub limit_surge: usize,
    /// The nodes that count as down.
    pub down: Vec<Name>,
    /// The nodes that run an old and a new pod.
    pub surging: Vec<Name>,
    /// The nodes whose outdated pods are replaced next, in order.
    pub next: Vec<Name>,
}

impl Rollout {
    /// Whether a pod has the current template.
    #[must_use]
    pub fn is_updated(&self, pod: &PodView) -> bool {
        let hash = pod.labels.label(HASH_LABEL);
        let generation = pod.labels.label(GENERATION_LABEL);
        let generation = generation.and_then(|text| text.parse().ok());
        let newest = self.current.iter().chain(&self.aliases);
        newest.into_iter().any(|newest| hash == Some(newest))
            || (generation.is_some() && generation == self.template_generation)
    }
}

impl Planner {
    /// The state of a set's rolling update; `None` if the set is not known.
    #[must_use]
    pub fn rollout(&self, key: &SetKey) -> Option<Rollout> {
        let set = self.sets.get(key)?;
        let named = |good: &dyn Fn(&crate::node_state::NodeState) -> bool| -> Vec<Name> {
            let states = set.nodes.iter::<NodeId>().filter(|(_, state)| good(state));
            let mut names: Vec<Name> = states.map(|(node, _)| self.nodes.name(node)).collect();
            names.sort_unstable();
            names
        };
        let (limit_down, limit_surge) = set.budgets();
        let queues = &set.queues;
        let deleted = queues.replace.names().chain(queues.candidates.names());
        let surged = queues.surge_now.names();
        let surged = surged.chain(queues.surge_candidates.names());
        let next = deleted.chain(surged);
        Some(Rollout {
            current: set.current.as_ref().map(|c| Name::clone(&c.hash)),
            aliases: set
                .current
                .as_ref()
                .map(|c| c.aliases.clone())
                .unwrap_or_default(),
            template_generation: set.view.template_generation,
            limit_down,
            limit_surge,
            down: named(&|state| state.counts.down),
            surging: named(&|state| state.due.step == UpdateStep::Surging),
            next: next.cloned().collect(),
        })
    }
}

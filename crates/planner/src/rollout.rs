//! How a rolling update stands: whose absence uses the budget up, and who is next.

use pandaemon_types::{Labels as _, Name, PodView};

use crate::{
    cell::Class,
    index::{NodeId, Planner},
    revision::{GENERATION_LABEL, HASH_LABEL},
    view::SetKey,
};

/// How the rolling update of a set stands after a plan. For people: it is counted when asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// The hash of the newest template, once its revision exists.
    pub current: Option<Name>,
    /// Hashes of revisions with the same template.
    pub aliases: Vec<Name>,
    /// The template generation of old API versions.
    pub template_generation: Option<i64>,
    /// How many nodes may be down.
    pub limit_down: usize,
    /// How many nodes may surge.
    pub limit_surge: usize,
    /// The nodes that count as down.
    pub down: Vec<Name>,
    /// The nodes that run two daemons.
    pub surging: Vec<Name>,
    /// The nodes whose outdated pods are replaced next, in order.
    pub next: Vec<Name>,
}

impl Rollout {
    /// Whether a pod has the newest template.
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
    /// How the rolling update of a set stands.
    #[must_use]
    pub fn rollout(&self, key: &SetKey) -> Option<Rollout> {
        let set = self.sets.get(key)?;
        let named = |good: &dyn Fn(&crate::cell::Cell) -> bool| -> Vec<Name> {
            let cells = set.cells.iter::<NodeId>().filter(|(_, cell)| good(cell));
            let mut names: Vec<Name> = cells.map(|(node, _)| self.roster.name(node)).collect();
            names.sort_unstable();
            names
        };
        let (limit_down, limit_surge) = set.limits();
        let classes = &set.classes;
        let next = classes.replace.keys().chain(classes.candidates.keys());
        let next = next
            .chain(classes.surge_now.keys())
            .chain(classes.surge_candidates.keys());
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
            down: named(&|cell| cell.counts.down),
            surging: named(&|cell| cell.class == Class::Surging),
            next: next.cloned().collect(),
        })
    }
}

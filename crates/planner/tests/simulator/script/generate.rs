//! The script of a seed.

use super::{
    Perturbation, Propagation, Script, SetSpec, Step, StrategySpec, Template, template::small,
};
use crate::rng::Rng;

/// How many entries the table of taints has, see `World::taint`.
const TAINTS: usize = 6;

impl Script {
    pub(crate) fn generate(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let nodes = match rng.below(100) {
            0..=59 => rng.between(1, 6),
            60..=87 => rng.between(5, 16),
            88..=96 => rng.between(17, 60),
            _ => rng.between(61, 200),
        };
        let nodes = usize::try_from(nodes).unwrap();
        let count = if nodes > 60 { 2 } else { 1 + rng.below(4) };
        let sets: Vec<SetSpec> = (0..count).map(|_| SetSpec::random(&mut rng)).collect();
        let length = if nodes > 60 { 25 } else { 10 + rng.below(70) };
        let mut at = 0;
        let mut steps = Vec::new();
        let bind = rng.chance(50);
        for _ in 0..length {
            at += match rng.below(10) {
                0..=4 => rng.between(0, 50),
                5..=7 => rng.between(50, 3_000),
                8 => rng.between(3_000, 30_000),
                _ => 0,
            };
            let what = Perturbation::random(&mut rng, nodes, &sets);
            steps.push(Step { at, what });
        }
        Self {
            seed,
            bind,
            nodes,
            sets,
            steps,
        }
    }
}

impl Perturbation {
    fn random(rng: &mut Rng, nodes: usize, sets: &[SetSpec]) -> Self {
        let set = rng.below(sets.len());
        match rng.below(100) {
            0..=23 => Self::of_nodes(rng, nodes),
            24..=43 => Self::of_pods(rng, nodes, set),
            44..=66 => Self::of_sets(rng, set, sets),
            67..=71 => Self::of_refusals(rng, nodes, set),
            _ => Self::of_controllers(rng),
        }
    }

    fn of_nodes(rng: &mut Rng, nodes: usize) -> Self {
        // A few more than there are at first: those are added.
        let node = rng.below(nodes + nodes / 4 + 1);
        match rng.below(14) {
            0 => Self::NodeAdd { node },
            1 => Self::NodeRemove { node },
            2 | 3 => Self::NodeRecreated {
                node,
                gap: rng.latency(500, 20_000),
            },
            4 => Self::NodeDies { node },
            5 => Self::NodeRevives { node },
            6 | 7 => Self::Taint {
                node,
                taint: small(rng, TAINTS),
            },
            8 => Self::Untaint { node },
            9 => Self::Cordon {
                node,
                on: rng.chance(60),
            },
            10 | 11 => Self::Label {
                node,
                disk: small(rng, 3),
            },
            12 => Self::ShrinkAllocatable {
                node,
                on: rng.chance(70),
            },
            _ => Self::KubeletRejects {
                node,
                for_ms: rng.between(100, 20_000),
            },
        }
    }

    fn of_pods(rng: &mut Rng, nodes: usize, set: usize) -> Self {
        let pick = rng.below(1_000);
        match rng.below(14) {
            0..=2 => Self::PodFlaps {
                pick,
                for_ms: rng.between(10, 20_000),
            },
            3 | 4 => Self::PodFails { pick },
            5 => Self::PodSucceeds { pick },
            6..=8 => Self::PodDeleted { pick },
            9 | 10 => Self::PodOrphaned { pick },
            11 => Self::PodUnlabelled { pick },
            12 => Self::PodReplaced { pick },
            _ => Self::PodUnowned {
                set,
                node: rng.below(nodes),
                other_owner: rng.chance(50),
            },
        }
    }

    fn of_sets(rng: &mut Rng, set: usize, sets: &[SetSpec]) -> Self {
        match rng.below(33) {
            0..=11 => {
                let image = small(rng, 4);
                let template = Template {
                    image,
                    ..sets[set].template.clone()
                };
                Self::Template { set, template }
            }
            12 | 13 => Self::Template {
                set,
                template: Template::random(rng),
            },
            14..=19 => Self::Strategy {
                set,
                strategy: StrategySpec::random(rng),
            },
            20 | 21 => Self::MinReady {
                set,
                seconds: [0, 3, 30][rng.below(3)],
            },
            22 | 23 => Self::History {
                set,
                limit: rng.below(3),
            },
            24 | 25 => {
                let how = [
                    Propagation::Background,
                    Propagation::Foreground,
                    Propagation::Orphan,
                ];
                Self::Delete {
                    set,
                    how: how[rng.below(3)],
                }
            }
            26..=29 => Self::Recreate { set },
            30 => Self::BadSelector {
                set,
                on: rng.chance(60),
            },
            _ => Self::RevisionDeleted {
                pick: rng.below(100),
            },
        }
    }

    fn of_refusals(rng: &mut Rng, nodes: usize, set: usize) -> Self {
        // Names that come first are where starvation shows.
        let node = rng.below(nodes.div_ceil(2));
        match rng.below(10) {
            0..=3 => Self::RefuseCreate { set, node },
            4..=6 => Self::RefuseDelete { set, node },
            7 => Self::RefusePatch { set, node },
            8 => Self::RefuseRevision { set },
            _ => Self::Quota {
                namespace: rng.below(2),
                pods: rng.below(nodes + 2),
                for_ms: rng.latency(10_000, 60_000),
            },
        }
    }

    fn of_controllers(rng: &mut Rng) -> Self {
        let kind = [0, 1, 2, 3, 3, 3][rng.below(6)];
        let for_ms = rng.latency(5_000, 60_000);
        match rng.below(19) {
            0 => Self::Jump {
                ms: rng.between(-3_600_000, 3_600_000),
            },
            1 => Self::Jump {
                ms: rng.between(-20_000, 20_000),
            },
            2..=4 => Self::Failover {
                gap: rng.latency(200, 15_000),
                lag: rng.latency(100, 5_000),
            },
            5 => Self::Overlap {
                for_ms: rng.latency(2_000, 30_000),
                lag: rng.latency(100, 5_000),
            },
            6..=9 => Self::Faults {
                percent: [10, 30, 60, 100][rng.below(4)],
                for_ms,
            },
            10..=12 => Self::Slow {
                kind,
                delay: rng.latency(2_000, 30_000),
                for_ms,
            },
            13 => Self::Cut { kind },
            14 | 15 => Self::Expire { kind },
            16 | 17 => Self::Rewind {
                kind,
                back: 1 + rng.below(40),
            },
            18 if rng.chance(20) => Self::NamespaceEnds {
                namespace: rng.below(2),
                for_ms,
            },
            _ => Self::Stall {
                for_ms: rng.between(100, 8_000),
            },
        }
    }
}

//! Finds a smaller script that fails in the same way: fewer steps by halves and quarters (delta
//! debugging), fewer nodes, fewer sets, shorter waits.

use std::time::{Duration, Instant};

use crate::{
    Mutation, run,
    script::{Nodes, Script, Tolerates},
    world::Run,
};

/// Whether a script fails with the same kind of fault.
fn fails(script: &Script, kind: &str, mutant: Option<Mutation>) -> bool {
    run(script, mutant, false)
        .violation
        .is_some_and(|(other, _)| other == kind)
}

struct Shrinking<'a> {
    kind: &'a str,
    mutant: Option<Mutation>,
    best: Script,
    until: Instant,
    tries: usize,
}

impl Shrinking<'_> {
    fn attempt(&mut self, script: Script) -> bool {
        if Instant::now() > self.until || script == self.best {
            return false;
        }
        self.tries += 1;
        let smaller = fails(&script, self.kind, self.mutant);
        if smaller {
            self.best = script;
        }
        smaller
    }

    fn steps(&mut self) -> bool {
        let mut changed = false;
        let mut chunk = self.best.steps.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            while from < self.best.steps.len() {
                let mut script = self.best.clone();
                let to = (from + chunk).min(script.steps.len());
                script.steps.drain(from..to);
                if self.attempt(script) {
                    changed = true;
                } else {
                    from += chunk;
                }
            }
            if chunk == 1 {
                return changed;
            }
            chunk = chunk.div_ceil(2);
        }
    }

    fn sizes(&mut self) -> bool {
        let mut changed = false;
        for nodes in [
            1,
            2,
            3,
            self.best.nodes / 2,
            self.best.nodes.saturating_sub(1),
        ] {
            if (1..self.best.nodes).contains(&nodes) {
                changed |= self.attempt(Script {
                    nodes,
                    ..self.best.clone()
                });
            }
        }
        while self.best.sets.len() > 1 {
            let mut script = self.best.clone();
            script.sets.pop();
            if !self.attempt(script) {
                break;
            }
            changed = true;
        }
        for position in 0..self.best.sets.len() {
            let mut script = self.best.clone();
            let set = &mut script.sets[position];
            (set.min_ready, set.history, set.template.priority) = (0, 10, 2);
            (set.template.nodes, set.template.tolerates) = (Nodes::All, Tolerates::Nothing);
            changed |= self.attempt(script);
        }
        changed
    }
}

/// The smallest script found, how it fails, and how many were tried.
pub(crate) fn shrink(
    script: &Script,
    kind: &str,
    mutant: Option<Mutation>,
    time_limit: Duration,
) -> (Script, Run, usize) {
    let mut shrinking = Shrinking {
        kind,
        mutant,
        best: script.clone(),
        until: Instant::now() + time_limit,
        tries: 0,
    };
    while shrinking.steps() | shrinking.sizes() {}
    let run = run(&shrinking.best, mutant, true);
    (shrinking.best, run, shrinking.tries)
}

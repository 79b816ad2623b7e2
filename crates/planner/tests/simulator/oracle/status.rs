//! The status of a set, counted after upstream's `updateDaemonSetStatus`, and checks of what is
//! written.

use super::{
    KnownPod, KnownSet, Oracle,
    placement::Fit,
    work::{Target, Work, check_pause},
};
use crate::{
    objects::{Pod, Status},
    request::{Request, Violation, ensure},
    value::Text,
};

/// Adds a node to a status: its pods count by the one that was created first.
pub(crate) fn count_node(
    status: &mut Status,
    fit: Fit,
    pods: &[&Pod],
    is_available: impl Fn(&Pod) -> bool,
    is_updated: impl Fn(&Pod) -> bool,
) {
    let oldest = pods.iter().min_by_key(|pod| pod.age());
    if fit != Fit::Run {
        status.misscheduled += i64::from(oldest.is_some());
        return;
    }
    status.desired += 1;
    let Some(oldest) = oldest else { return };
    status.current += 1;
    status.ready += i64::from(oldest.ready);
    status.available += i64::from(is_available(oldest));
    status.updated += i64::from(is_updated(oldest));
}

impl Oracle {
    /// What the status of a set should be.
    fn status(&self, set: &KnownSet) -> Status {
        let mut status = Status {
            observed_generation: set.set.generation,
            collisions: set.set.status.collisions,
            ..Status::default()
        };
        for (name, node) in &self.known.nodes {
            let pods: Vec<&Pod> = self
                .known
                .pods_on(set, name)
                .filter(|known| known.is_present())
                .map(|known: &KnownPod| &known.pod)
                .collect();
            count_node(
                &mut status,
                set.demands.fit(node),
                &pods,
                |pod| self.is_available(set, pod),
                |pod| self.is_updated(set, pod),
            );
        }
        status.unavailable = status.desired - status.available;
        status
    }

    /// Checks the status that is written, and takes it in.
    pub(super) fn write_status(&mut self, request: &Request) -> Result<(), Violation> {
        let Request::WriteStatus { set: key, body, .. } = request else {
            return Ok(());
        };
        let (set, work) = self.set_of(request)?;
        ensure!(
            !work.writing,
            "status: twice",
            "writes the status of {key} while a write is under way"
        );
        check_pause(work, &Target::Status, self.now)?;
        let (written, truth) = (Status::read(body), self.status(set));
        // A collision is written at once, with the numbers that were written before.
        let collision = written == set.set.status;
        ensure!(
            written == truth || collision,
            "status: wrong",
            "writes {written:?} for {key}, it is {truth:?}"
        );
        if let Some(work) = self.work_mut(key) {
            work.writing = true;
        }
        Ok(())
    }

    /// A status that says something else is written unless a write is under way or was refused.
    pub(super) fn check_status(&self, set: &KnownSet, work: &Work) -> Result<(), Violation> {
        if work.writing || !work.is_due(&Target::Status, self.now) {
            return Ok(());
        }
        let truth = self.status(set);
        let key: &Text = &set.set.key.name;
        ensure!(
            truth == set.set.status,
            "progress: status",
            "the status of {key} is {:?} and not {truth:?}, and nobody writes it",
            set.set.status
        );
        Ok(())
    }
}

//! One pod of a hollow node: what is to be reported about it, and what is being reported.

use std::{sync::Arc, time::Duration};

use super::{BACKOFF, Latencies, PULL_RETRY, PodAction, Write};
use crate::pod::{Pod, StartAttempt};

#[derive(Debug)]
pub(super) struct PodEntry {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) node: u32,
    /// Kept until its start is reported.
    pod: Option<Arc<Pod>>,
    /// Of its containers' images: another one means that they are started again.
    fingerprint: u64,
    restarts: u32,
    /// Failed writes since the last that succeeded.
    failures: u32,
    wanted: Option<PodAction>,
    /// The action whose write is under way, and the fingerprint that it reports.
    in_flight: Option<(PodAction, u64)>,
    /// The same is to be reported once more after the write under way.
    again: bool,
    deleting: bool,
}

impl PodEntry {
    pub(super) fn new(namespace: Arc<str>, name: &str, node: u32) -> Self {
        Self {
            namespace,
            name: name.into(),
            node,
            pod: None,
            fingerprint: 0,
            restarts: 0,
            failures: 0,
            wanted: None,
            in_flight: None,
            again: false,
            deleting: false,
        }
    }

    /// Takes in the pod as it is now. Returns the time until something is to be reported about it.
    pub(super) fn update(&mut self, pod: Pod, new: bool, latencies: Latencies) -> Option<Duration> {
        if pod.metadata.deletion_timestamp.is_some() {
            let first = !std::mem::replace(&mut self.deleting, true);
            self.pod = None;
            if first {
                self.wanted = Some(PodAction::Delete);
            }
            return first.then(|| latencies.stop(&pod));
        }
        if pod.has_ended() {
            return None;
        }
        let fingerprint = pod.fingerprint();
        let is_reported = fingerprint == self.fingerprint || (new && pod.is_reported());
        self.fingerprint = fingerprint;
        if is_reported {
            let marked = pod.is_marked_not_ready();
            return marked.then(|| self.report_again(pod)).flatten();
        }
        self.restarts += u32::from(!new);
        let delay = latencies.start(&pod.metadata.uid);
        self.pod = Some(Arc::new(pod));
        self.wanted = Some(PodAction::Start);
        Some(delay)
    }

    /// Reports a pod that runs once more, as a kubelet does when another client has changed its
    /// status.
    fn report_again(&mut self, pod: Pod) -> Option<Duration> {
        if self.wanted.is_some() {
            // The server may have taken the write under way before the change.
            self.again = self.in_flight.is_some();
            return None;
        }
        self.pod = Some(Arc::new(pod));
        self.wanted = Some(PodAction::Start);
        Some(Duration::ZERO)
    }

    /// The write that reports the wanted action, unless another write is under way.
    pub(super) fn begin_write(&mut self, crash: bool) -> Option<Write> {
        let wanted = self.wanted.filter(|_| self.in_flight.is_none())?;
        let write = match wanted {
            PodAction::Delete => Write::Delete,
            PodAction::Start | PodAction::RetryPull => {
                let pod = Arc::clone(self.pod.as_ref()?);
                let attempt = StartAttempt {
                    node: self.node,
                    crash,
                    restarts: self.restarts,
                    pulled_before: wanted == PodAction::RetryPull,
                };
                Write::Status { pod, attempt }
            }
        };
        self.in_flight = Some((wanted, self.fingerprint));
        Some(write)
    }

    /// The write under way succeeded. Returns the time until the next write.
    pub(super) fn write_done(&mut self) -> Option<Duration> {
        let written = self.in_flight.take();
        self.failures = 0;
        let again = std::mem::take(&mut self.again);
        if written == self.wanted.map(|wanted| (wanted, self.fingerprint)) && !again {
            self.finish_wanted().then_some(PULL_RETRY)
        } else {
            // Something else is wanted by now.
            self.wanted.is_some().then_some(Duration::ZERO)
        }
    }

    /// The write under way failed. Returns the time until it is sent again.
    pub(super) fn write_failed(&mut self) -> Duration {
        self.in_flight = None;
        let delay = (BACKOFF.0 * 2_u32.pow(self.failures.min(10))).min(BACKOFF.1);
        self.failures += 1;
        delay
    }

    /// The wanted action was reported. Returns whether a failed pull is to be reported again.
    fn finish_wanted(&mut self) -> bool {
        let pull_failed = self.wanted == Some(PodAction::Start)
            && self.pod.as_ref().is_some_and(|pod| pod.lacks_image());
        self.wanted = pull_failed.then_some(PodAction::RetryPull);
        if !pull_failed {
            self.pod = None;
        }
        pull_failed
    }
}

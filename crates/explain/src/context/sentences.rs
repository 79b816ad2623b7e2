//! The reasons that need no decision: deletions under way, back-offs, `minReadySeconds`, and
//! remarks.

use pandaemon_types::Timestamp;

use super::ExplainContext;
use crate::{
    reason::{Reason, ReasonKind},
    snapshot::{DaemonPod, Node},
    text::{ago, plural},
};

impl ExplainContext<'_> {
    pub(super) fn terminating(&self, pod: &DaemonPod) -> Reason {
        let since = pod.deleted_at().map(|at| self.due(at)).unwrap_or_default();
        let text = format!("pod {} is being deleted{since}", pod.view.name);
        Reason::new(ReasonKind::Terminating, text).with_group_key("its pod is being deleted")
    }

    /// Time until a deletion is due: `deletionTimestamp` is the end of the grace period.
    fn due(&self, at: Timestamp) -> String {
        let now = self.snapshot.now;
        if now < at {
            format!(" (at most {} more)", ago(now, at))
        } else {
            format!(" (due {} ago)", ago(at, now))
        }
    }

    pub(super) fn back_off(&self, node: &Node) -> Option<Reason> {
        let (count, until) = self.failures.back_off(&node.view.name, self.snapshot.now)?;
        let pods = plural(count.into(), "pod");
        let text = if self.snapshot.now < until {
            format!("back-off until about {until}: {pods} failed here")
        } else {
            format!("{pods} failed here; the next is due")
        };
        let reason = Reason::new(ReasonKind::BackOff, text);
        Some(reason.with_group_key("back-off after failed pods"))
    }

    pub(super) fn not_yet_available(&self, pod: &DaemonPod) -> Option<Reason> {
        let wait = self.preview.view.min_ready_seconds;
        let at = pod.view.ready_since?.plus_seconds(wait);
        let text = format!("ready, and counts as available at {at} (minReadySeconds {wait})");
        let reason = Reason::new(ReasonKind::NotReady, text);
        Some(reason.with_group_key("ready for less than minReadySeconds"))
    }

    /// Facts about the node that do not decide the verdict.
    pub(super) fn remarks(&self, node: &Node) -> Vec<Reason> {
        let mut remarks = Vec::new();
        if let Some(condition) = &node.not_ready {
            let since = condition.last_transition_time;
            let since = since.map(|at| format!(" since {}", ago(at, self.snapshot.now)));
            let why = Some(&*condition.reason).filter(|reason| !reason.is_empty());
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let text = format!("node is not ready{}{why}", since.unwrap_or_default());
            let group_key = format!("node is not ready{why}");
            remarks.push(Reason::new(ReasonKind::NodeNotReady, text).with_group_key(group_key));
        }
        if node.view.unschedulable {
            let text = "node is cordoned, which daemons ignore";
            remarks.push(Reason::new(ReasonKind::Cordoned, text));
        }
        remarks
    }
}

//! Label values of metrics about actions.

use pandaemon_planner::{Action, DeleteReason, Purpose};

pub(super) const fn action(action: &Action) -> &'static str {
    match action {
        Action::CreatePod { .. } => "create_pod",
        Action::DeletePod { .. } => "delete_pod",
        Action::PatchPod { purpose, .. } => match purpose {
            Purpose::Adopt => "adopt_pod",
            Purpose::Release => "release_pod",
            Purpose::Relabel | Purpose::Renumber => "relabel_pod",
        },
        Action::CreateRevision { .. } => "create_revision",
        Action::PatchRevision { .. } => "patch_revision",
        Action::DeleteRevision { .. } => "delete_revision",
        Action::WriteStatus { .. } => "write_status",
        Action::Event { .. } => "event",
    }
}

/// The value of the metric label `reason` of deletions.
pub(super) const fn reason(action: &Action) -> Option<&'static str> {
    let Action::DeletePod { reason, .. } = action else {
        return None;
    };
    Some(match reason {
        DeleteReason::Misplaced(_) => "misplaced",
        DeleteReason::NoNode => "no_node",
        DeleteReason::Failed => "failed",
        DeleteReason::Succeeded => "succeeded",
        DeleteReason::Duplicate => "duplicate",
        DeleteReason::OutdatedDown => "outdated_down",
        DeleteReason::Outdated { .. } => "outdated",
        DeleteReason::Replaced => "replaced",
    })
}

//! What actions are called in metrics.

use pandaemon_planner::{Action, Purpose, Why};

pub(super) const fn action(action: &Action) -> &'static str {
    match action {
        Action::CreatePod { .. } => "create_pod",
        Action::DeletePod { .. } => "delete_pod",
        Action::PatchPod { purpose, .. } => match purpose {
            Purpose::Adopt => "adopt_pod",
            Purpose::Release => "release_pod",
            Purpose::Relabel => "relabel_pod",
        },
        Action::CreateRevision { .. } => "create_revision",
        Action::PatchRevision { .. } => "patch_revision",
        Action::DeleteRevision { .. } => "delete_revision",
        Action::WriteStatus { .. } => "write_status",
        Action::Event { .. } => "event",
    }
}

/// Why a pod is deleted, in one word.
pub(super) const fn reason(action: &Action) -> Option<&'static str> {
    let Action::DeletePod { why, .. } = action else {
        return None;
    };
    Some(match why {
        Why::Misplaced(_) => "misplaced",
        Why::NoNode => "no_node",
        Why::Failed => "failed",
        Why::Succeeded => "succeeded",
        Why::Duplicate => "duplicate",
        Why::OutdatedDown => "outdated_down",
        Why::Outdated { .. } => "outdated",
        Why::Replaced => "replaced",
    })
}

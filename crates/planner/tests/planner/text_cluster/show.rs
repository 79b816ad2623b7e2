//! Actions as lines.

use pandaemon_planner::{Action, Patch, SetKey, Status, revision_text};
use serde_json::Value;

use super::TextCluster;

impl TextCluster {
    pub(super) fn show(&self, action: &Action) -> Option<String> {
        Some(match action {
            Action::CreatePod {
                node,
                name,
                bind,
                template,
                ..
            } if self.show_objects => {
                let pod: Value = serde_json::from_str(&template.render(name, node, *bind)).unwrap();
                format!(
                    "create {node}\n{}",
                    serde_json::to_string_pretty(&pod).unwrap()
                )
            }
            Action::PatchPod { pod, patch, .. } if self.show_objects => {
                let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
                format!("patch {} {body}", pod.name)
            }
            Action::CreateRevision { object, .. } if self.show_objects => {
                format!("revision {}", revision_text(object))
            }
            Action::CreatePod {
                set, node, bind, ..
            } => {
                let set = other_than_agent(set);
                format!("create {node}{set}{}", if *bind { " bound" } else { "" })
            }
            Action::DeletePod {
                node, pod, reason, ..
            } => format!("delete {node} {} {reason}", pod.name),
            Action::PatchPod { pod, purpose, .. } => {
                format!("{purpose:?} {}", pod.name).to_lowercase()
            }
            Action::CreateRevision { object, .. } => format!("revision {}", object["revision"]),
            Action::PatchRevision { name, patch, .. } => {
                let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
                let what = match body.pointer("/metadata/ownerReferences/0") {
                    Some(owner) if owner.get("$patch").is_some() => "released".to_owned(),
                    Some(_) => "adopted".to_owned(),
                    None => body.to_string(),
                };
                format!("revision {name} {what}")
            }
            Action::DeleteRevision { name, .. } => format!("revision {name} deleted"),
            Action::WriteStatus { set, status, .. } if self.show_status => {
                format!("status {} {}", set.name, show_status(status))
            }
            Action::Event {
                severity,
                reason,
                message,
                ..
            } if self.show_events => {
                format!("event {severity:?} {reason} {message}")
            }
            Action::WriteStatus { .. } | Action::Event { .. } => return None,
        })
    }
}

/// The name of a set with a leading space; empty for the usual one, `agent`.
pub(super) fn other_than_agent(set: &SetKey) -> String {
    if &*set.name == "agent" {
        String::new()
    } else {
        format!(" {}", set.name)
    }
}

fn show_status(status: &Status) -> String {
    format!(
        "desired={} current={} ready={} updated={} available={} unavailable={} misscheduled={} \
         generation={} collisions={}",
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_ready,
        status.updated_number_scheduled,
        status.number_available,
        status.number_unavailable,
        status.number_misscheduled,
        status.observed_generation,
        status
            .collision_count
            .map_or_else(|| "none".to_owned(), |count| count.to_string()),
    )
}

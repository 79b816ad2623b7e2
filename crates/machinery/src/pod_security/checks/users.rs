//! Checks of the user that containers run as.

use super::{
    Violation,
    pod::{Pod, containers, context},
};

pub(super) fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    let reason = "runAsNonRoot != true";
    if let Some(setters) = pod.setters(|context| context["runAsNonRoot"] == false) {
        return Some(Violation {
            reason,
            detail: format!("{setters} must not set securityContext.runAsNonRoot=false"),
        });
    }
    if pod.context()["runAsNonRoot"] == true {
        return None;
    }
    let without = pod.containers_that(|container| context(container)["runAsNonRoot"] != true);
    (!without.is_empty()).then(|| Violation {
        reason,
        detail: format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            containers(&without)
        ),
    })
}

/// Pods with a user namespace are exempt: root in them is an ordinary user of the host.
pub(super) fn non_root_1_35(pod: &Pod<'_>) -> Option<Violation> {
    (!pod.has_user_namespace()).then(|| non_root(pod)).flatten()
}

pub(super) fn run_as_user(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod.setters(|context| context["runAsUser"] == 0)?;
    Some(Violation {
        reason: "runAsUser=0",
        detail: format!("{setters} must not set runAsUser=0"),
    })
}

/// Pods with a user namespace are exempt.
pub(super) fn run_as_user_1_35(pod: &Pod<'_>) -> Option<Violation> {
    (!pod.has_user_namespace())
        .then(|| run_as_user(pod))
        .flatten()
}

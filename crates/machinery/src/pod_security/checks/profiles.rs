//! Checks of AppArmor, SELinux and seccomp.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Violation,
    pod::{Pod, containers, context, plural, quoted, quoted_set},
};
use crate::{go_text::quote, json_fields::ReadFields};

/// The annotations by which pods chose AppArmor profiles before there was a field.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The annotation by which a pod chose a seccomp profile before there was a field.
const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// The same for a container, whose name follows.
const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// The type of a profile in a security context, if there is one that level baseline does not have.
fn bad_type<'a>(context: &'a Value, profile: &str) -> Option<&'a str> {
    let set = context.field(profile)?.text("type");
    (!matches!(set, "RuntimeDefault" | "Localhost")).then_some(set)
}

pub(super) fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let mut types = BTreeSet::new();
    let setters = pod.setters(|context| {
        let bad = bad_type(context, "appArmorProfile");
        types.extend(bad);
        bad.is_some()
    });
    let allowed = |profile: &str| {
        matches!(profile, "" | "runtime/default") || profile.starts_with("localhost/")
    };
    let mut annotations: Vec<String> = pod
        .annotations()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(APP_ARMOR))
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, profile)| !allowed(profile))
        .map(|(key, profile)| format!("{key}={}", quote(profile)))
        .collect();
    annotations.sort_unstable();
    let annotation = (!annotations.is_empty())
        .then(|| plural("annotation", "annotations", annotations.len()).to_owned());
    let setters: Vec<String> = setters.into_iter().chain(annotation).collect();
    let all = types
        .into_iter()
        .chain(annotations.iter().map(String::as_str));
    let all: Vec<&str> = all.collect();
    (!setters.is_empty()).then(|| Violation {
        reason: plural(
            "forbidden AppArmor profile",
            "forbidden AppArmor profiles",
            all.len(),
        ),
        detail: format!(
            "{} must not set AppArmor profile type to {}",
            setters.join(" and "),
            quoted(all)
        ),
    })
}

fn se_linux_options(pod: &Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let setters = pod.setters(|context| {
        let options = &context["seLinuxOptions"];
        let own_type = options.text("type");
        let is_bad = !own_type.is_empty() && !allowed.contains(&own_type);
        if is_bad {
            types.insert(own_type);
        }
        let [has_user, has_role] = ["user", "role"].map(|field| !options.text(field).is_empty());
        user |= has_user;
        role |= has_role;
        is_bad || has_user || has_role
    })?;
    let types = (!types.is_empty()).then(|| {
        let word = plural("type", "types", types.len());
        format!("{word} {}", quoted_set(&types))
    });
    let user = user.then(|| "user may not be set".to_owned());
    let role = role.then(|| "role may not be set".to_owned());
    let faults: Vec<String> = [types, user, role].into_iter().flatten().collect();
    Some(Violation {
        reason: "seLinuxOptions",
        detail: format!(
            "{setters} set forbidden securityContext.seLinuxOptions: {}",
            faults.join("; ")
        ),
    })
}

pub(super) fn se_linux(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = ["container_t", "container_init_t", "container_kvm_t"];
    se_linux_options(pod, &allowed)
}

pub(super) fn se_linux_1_31(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = [
        "container_t",
        "container_init_t",
        "container_kvm_t",
        "container_engine_t",
    ];
    se_linux_options(pod, &allowed)
}

/// Before version 1.19: the annotations.
pub(super) fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let annotations = pod.annotations()?;
    let of_containers = pod
        .containers()
        .map(|container| format!("{SECCOMP_OF_CONTAINER}{}", container.text("name")));
    let keys = of_containers.chain([SECCOMP_OF_POD.to_owned()]);
    let allowed = |profile: &str| {
        matches!(profile, "runtime/default" | "docker/default") || profile.starts_with("localhost/")
    };
    let forbidden = keys.filter_map(|key| {
        let profile = annotations.get(&key)?.as_str()?;
        (!allowed(profile)).then(|| format!("{key}={}", quote(profile)))
    });
    let forbidden: BTreeSet<String> = forbidden.collect();
    (!forbidden.is_empty()).then(|| {
        let word = plural("annotation", "annotations", forbidden.len());
        let listed: Vec<String> = forbidden.into_iter().collect();
        Violation {
            reason: "seccompProfile",
            detail: format!("forbidden {word} {}", listed.join(", ")),
        }
    })
}

pub(super) fn seccomp_baseline(pod: &Pod<'_>) -> Option<Violation> {
    let mut types = BTreeSet::new();
    let setters = pod.setters(|context| {
        let bad = bad_type(context, "seccompProfile");
        types.extend(bad);
        bad.is_some()
    })?;
    Some(Violation {
        reason: "seccompProfile",
        detail: format!(
            "{setters} must not set securityContext.seccompProfile.type to {}",
            quoted_set(&types)
        ),
    })
}

pub(super) fn seccomp_restricted(pod: &Pod<'_>) -> Option<Violation> {
    let bad = seccomp_baseline(pod);
    if bad.is_some() || pod.context().has("seccompProfile") {
        return bad;
    }
    let without = pod.containers_that(|container| !context(container).has("seccompProfile"));
    (!without.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&without)
        ),
    })
}

/// Pods for Windows, which do not have seccomp, are exempt.
pub(super) fn seccomp_restricted_1_25(pod: &Pod<'_>) -> Option<Violation> {
    (!pod.is_windows())
        .then(|| seccomp_restricted(pod))
        .flatten()
}

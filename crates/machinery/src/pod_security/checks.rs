//! The checks of each level, version by version. Upstream: `pod-security-admission/policy`.

mod containers;
mod host;
mod pod;
mod profiles;
mod users;
mod volumes;

use serde_json::Value;

use self::pod::Pod;
use super::policy::{Level, LevelVersion, Version};

/// A check that a pod does not pass (upstream's `CheckResult`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What is forbidden, such as `host namespaces`.
    pub reason: &'static str,
    /// Which part of the pod does it, such as `hostNetwork=true`.
    pub detail: String,
}

/// All checks that a pod does not pass, in upstream's order (`AggregateCheckResult`).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Whether the pod is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons: `privileged, hostPort`.
    #[must_use]
    pub fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.0.iter().map(|one| one.reason).collect();
        reasons.join(", ")
    }

    /// The reasons with their details: `host namespaces (hostPID=true), hostPort (...)`.
    #[must_use]
    pub fn details(&self) -> String {
        let text = |one: &Violation| match one.detail.as_str() {
            "" => one.reason.to_owned(),
            detail => format!("{} ({detail})", one.reason),
        };
        let all: Vec<String> = self.0.iter().map(text).collect();
        all.join(", ")
    }
}

/// Checks a pod; `None` if it passes.
type CheckPod = fn(&Pod<'_>) -> Option<Violation>;

/// A check of one level.
struct Check {
    /// Upstream's ID. The checks of a level are ordered by it.
    id: &'static str,
    /// The forms of the check, each with the minor version that it starts with.
    versions: &'static [(i64, CheckPod)],
    /// The check of level baseline that this one replaces from its first version on.
    overrides: Option<&'static str>,
}

impl Check {
    const fn new(id: &'static str, versions: &'static [(i64, CheckPod)]) -> Self {
        Self {
            id,
            versions,
            overrides: None,
        }
    }

    const fn overriding(self, id: &'static str) -> Self {
        Self {
            overrides: Some(id),
            ..self
        }
    }

    /// The form of the check in a version; `None` before its first.
    fn form(&self, version: Version) -> Option<CheckPod> {
        let mut newest_first = self.versions.iter().rev();
        let form = newest_first.find(|(minor, _)| Version::Minor(*minor) <= version);
        form.map(|(_, check)| *check)
    }
}

/// Checks of level baseline, which restricted has, too.
const BASELINE: [Check; 12] = [
    Check::new("appArmorProfile", &[(0, profiles::app_armor)]),
    Check::new("capabilities_baseline", &[(0, containers::capabilities)]),
    Check::new("hostNamespaces", &[(0, host::namespaces)]),
    Check::new("hostPathVolumes", &[(0, volumes::host_path)]),
    Check::new("hostPorts", &[(0, host::ports)]),
    Check::new("hostProbesAndHostLifecycle", &[(34, host::probes)]),
    Check::new("privileged", &[(0, containers::privileged)]),
    Check::new(
        "procMount",
        &[
            (0, containers::proc_mount),
            (35, containers::proc_mount_1_35),
        ],
    ),
    Check::new(
        "seLinuxOptions",
        &[(0, profiles::se_linux), (31, profiles::se_linux_1_31)],
    ),
    Check::new(
        "seccompProfile_baseline",
        &[
            (0, profiles::seccomp_annotations),
            (19, profiles::seccomp_baseline),
        ],
    ),
    Check::new(
        "sysctls",
        &[
            (0, host::sysctls),
            (27, host::sysctls_1_27),
            (29, host::sysctls_1_29),
            (32, host::sysctls_1_32),
            (37, host::sysctls_1_37),
        ],
    ),
    Check::new("windowsHostProcess", &[(0, host::windows_process)]),
];

/// Checks of level restricted alone.
const RESTRICTED: [Check; 7] = [
    Check::new(
        "allowPrivilegeEscalation",
        &[
            (8, containers::privilege_escalation),
            (25, containers::privilege_escalation_1_25),
        ],
    ),
    Check::new(
        "capabilities_restricted",
        &[
            (22, containers::capabilities_restricted),
            (25, containers::capabilities_restricted_1_25),
        ],
    )
    .overriding("capabilities_baseline"),
    Check::new("procMount_restricted", &[(35, containers::proc_mount)]).overriding("procMount"),
    Check::new("restrictedVolumes", &[(0, volumes::restricted)]).overriding("hostPathVolumes"),
    Check::new(
        "runAsNonRoot",
        &[(0, users::non_root), (35, users::non_root_1_35)],
    ),
    Check::new(
        "runAsUser",
        &[(23, users::run_as_user), (35, users::run_as_user_1_35)],
    ),
    Check::new(
        "seccompProfile_restricted",
        &[
            (19, profiles::seccomp_restricted),
            (25, profiles::seccomp_restricted_1_25),
        ],
    )
    .overriding("seccompProfile_baseline"),
];

/// What a pod or a pod template, which has `metadata` and `spec` as well, violates.
#[must_use]
pub fn evaluate(policy: LevelVersion, pod: &Value) -> Violations {
    let LevelVersion { level, version } = policy;
    let (baseline, restricted): (&[Check], &[Check]) = match level {
        Level::Privileged => (&[], &[]),
        Level::Baseline => (&BASELINE, &[]),
        Level::Restricted => (&BASELINE, &RESTRICTED),
    };
    let is_overridden = |check: &Check| {
        let mut stricter = restricted.iter();
        stricter.any(|other| other.overrides == Some(check.id) && other.form(version).is_some())
    };
    let pod = Pod::new(pod);
    let checks = baseline.iter().filter(|check| !is_overridden(check));
    let forms = checks
        .chain(restricted)
        .filter_map(|check| check.form(version));
    Violations(forms.filter_map(|check| check(&pod)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_that_of_the_newest_form() {
        let forms = BASELINE.iter().chain(&RESTRICTED);
        let minors = forms.flat_map(|check| check.versions).map(|form| form.0);
        assert_eq!(minors.max(), Some(Version::NEWEST));
        assert!(Version::Minor(Version::NEWEST + 1).is_future());
        assert!(!Version::Minor(Version::NEWEST).is_future() && !Version::Latest.is_future());
    }

    #[test]
    fn checks_are_ordered_by_id_and_their_forms_by_version() {
        for checks in [&BASELINE[..], &RESTRICTED[..]] {
            assert!(checks.is_sorted_by(|a, b| a.id < b.id));
            for check in checks {
                assert!(
                    check.versions.is_sorted_by(|a, b| a.0 < b.0),
                    "{}",
                    check.id
                );
            }
        }
        let overridden = RESTRICTED.iter().filter_map(|check| check.overrides);
        for id in overridden {
            assert!(BASELINE.iter().any(|check| check.id == id), "{id}");
        }
    }
}

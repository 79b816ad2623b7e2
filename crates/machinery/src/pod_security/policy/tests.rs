//! Versions, labels, and warnings about them.

use super::*;

/// The policy of labels such as `enforce=baseline`, with its errors.
fn policy_of(labels: &str, defaults: &Policy) -> (Policy, Vec<FieldError>) {
    Policy::of_labels(|key| find(labels, key), defaults)
}

fn find<'a>(labels: &'a str, key: &str) -> Option<&'a str> {
    let key = key.strip_prefix("pod-security.kubernetes.io/")?;
    let mut pairs = labels.split_whitespace().filter_map(|l| l.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn shown(policy: &Policy) -> String {
    let Policy {
        enforce,
        audit,
        warn,
    } = policy;
    format!("{enforce} {audit} {warn}")
}

const BASELINE: LevelVersion = LevelVersion {
    level: Level::Baseline,
    version: Version::Minor(23),
};

#[test]
fn versions_are_latest_or_a_minor_version_of_1() {
    for (text, expected) in [
        ("latest", Some(Version::Latest)),
        ("v1.0", Some(Version::Minor(0))),
        ("v1.20", Some(Version::Minor(20))),
        ("v1.10000", Some(Version::Minor(10_000))),
        ("v1.01", None),
        ("v1.00", None),
        ("v1.+1", None),
        ("v1.99999999999999999999", None),
        ("v1.", None),
        ("v1", None),
        ("1.1", None),
        ("v2.0", None),
        ("foo", None),
        ("", None),
    ] {
        let read = Version::parse(text);
        assert_eq!(read.ok(), expected, "{text}");
        if read.is_ok() {
            assert_eq!(expected.unwrap().to_string(), text);
        }
    }
}

#[test]
fn the_policy_is_that_of_the_labels_and_the_defaults() {
    let p = "privileged:latest";
    for (labels, expected) in [
        ("", format!("{p} {p} {p}")),
        (
            "enforce=baseline",
            format!("baseline:latest {p} baseline:latest"),
        ),
        ("warn=restricted", format!("{p} {p} restricted:latest")),
        ("audit=baseline", format!("{p} baseline:latest {p}")),
        (
            "enforce=baseline warn=restricted",
            format!("baseline:latest {p} restricted:latest"),
        ),
        (
            "enforce=baseline enforce-version=v1.22",
            format!("baseline:v1.22 {p} baseline:v1.22"),
        ),
        (
            "enforce=baseline enforce-version=v1.22 warn-version=latest",
            format!("baseline:v1.22 {p} baseline:latest"),
        ),
        (
            "enforce=baseline warn-version=v1.23",
            format!("baseline:latest {p} baseline:v1.23"),
        ),
        (
            "enforce=baseline enforce-version=v1.20 warn=restricted warn-version=v1.21 audit=restricted audit-version=v1.22",
            "baseline:v1.20 restricted:v1.22 restricted:v1.21".to_owned(),
        ),
        (
            "enforce=baseline warn=privileged",
            format!("baseline:latest {p} {p}"),
        ),
    ] {
        let (policy, errors) = policy_of(labels, &Policy::PRIVILEGED);
        assert_eq!((shown(&policy), errors), (expected, vec![]), "{labels}");
    }
    let defaults = Policy {
        enforce: BASELINE,
        warn: LevelVersion {
            level: Level::Restricted,
            ..BASELINE
        },
        ..Policy::PRIVILEGED
    };
    let (policy, _) = policy_of("enforce=restricted", &defaults);
    let expected = "restricted:v1.23 privileged:latest restricted:v1.23";
    assert_eq!(shown(&policy), expected);
}

#[test]
fn labels_that_cannot_be_read_enforce_restricted_and_are_errors() {
    let p = "privileged:latest";
    for (labels, expected, faults) in [
        (
            "enforce=foo",
            format!("restricted:latest {p} {p}"),
            vec![
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"foo\": must be one of privileged, baseline, restricted",
            ],
        ),
        (
            "enforce=baseline warn=foo",
            format!("baseline:latest {p} {p}"),
            vec![
                "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"foo\": must be one of privileged, baseline, restricted",
            ],
        ),
        (
            "enforce-version=v2.0 audit=Baseline audit-version=1.2",
            format!("{p} {p} {p}"),
            vec![
                "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"v2.0\": must be \"latest\" or \"v1.x\"",
                "metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: \"Baseline\": must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1.2\": must be \"latest\" or \"v1.x\"",
            ],
        ),
    ] {
        let (policy, errors) = policy_of(labels, &Policy::PRIVILEGED);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            (shown(&policy), errors),
            (expected, faults.into_iter().map(str::to_owned).collect()),
            "{labels}"
        );
    }
}

#[test]
fn existing_pods_are_worth_a_look_if_more_may_be_forbidden() {
    for (old, new, expected) in [
        ("restricted:v1.0", "restricted:v1.0", false),
        ("restricted:v1.0", "baseline:v1.0", false),
        ("restricted:latest", "baseline:latest", false),
        ("restricted:v1.0", "privileged:latest", false),
        ("privileged:latest", "baseline:latest", true),
        ("baseline:v1.0", "restricted:v1.0", true),
        ("restricted:v1.0", "baseline:latest", true),
        ("restricted:latest", "restricted:v1.0", true),
    ] {
        let [old, new] = [old, new].map(|text| {
            let (level, version) = text.split_once(':').unwrap();
            LevelVersion {
                level: Level::parse(level).unwrap(),
                version: Version::parse(version).unwrap(),
            }
        });
        assert_eq!(new.may_forbid_more_than(&old), expected, "{old} -> {new}");
    }
}

#[test]
fn an_exempt_namespace_warns_of_labels_that_have_no_effect() {
    let baseline = Policy {
        enforce: BASELINE,
        audit: BASELINE,
        warn: BASELINE,
    };
    for (labels, defaults, expected) in [
        ("", Policy::PRIVILEGED, None),
        (
            "enforce=privileged enforce-version=v1.24 warn-version=v1.25",
            Policy::PRIVILEGED,
            None,
        ),
        (
            "enforce=baseline",
            Policy::PRIVILEGED,
            Some("enforce=baseline:latest"),
        ),
        (
            "warn=baseline",
            Policy::PRIVILEGED,
            Some("warn=baseline:latest"),
        ),
        (
            "audit=restricted",
            Policy::PRIVILEGED,
            Some("audit=restricted:latest"),
        ),
        (
            "enforce=restricted enforce-version=v1.0 audit=restricted warn=baseline",
            Policy::PRIVILEGED,
            Some("enforce=restricted:v1.0, audit=restricted:latest, warn=baseline:latest"),
        ),
        ("", baseline, None),
        (
            "warn-version=latest",
            baseline,
            Some("warn=baseline:latest"),
        ),
        ("warn=privileged", baseline, Some("")),
    ] {
        let (policy, _) = policy_of(labels, &defaults);
        let warning = policy.exemption_warning("ns", |key| find(labels, key), &defaults);
        let expected = expected.map(|ignored| format!(
            "namespace \"ns\" is exempt from Pod Security, and the policy ({ignored}) will be ignored"
        ));
        assert_eq!(warning, expected, "{labels}");
    }
}

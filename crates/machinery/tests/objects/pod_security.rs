//! Violations of the Pod Security Standards in the cases in `tests/cases/pod_security`.
//!
//! The command of a case is `spec` (the spec of a pod follows) or `pod` (a pod). Each line of the
//! expected output is a level and version, and what the pod violates there: nothing if it is
//! allowed.

use pandaemon_machinery::pod_security::{LevelVersion, Policy, evaluate};
use serde_json::json;

use crate::text_cases::{self, yaml};

/// The level and version of a text such as `baseline:v1.34`.
fn level_version(text: &str) -> LevelVersion {
    let (level, version) = text.split_once(':').expect("LEVEL:VERSION");
    let label = |key: &str| match key {
        "pod-security.kubernetes.io/enforce" => Some(level),
        "pod-security.kubernetes.io/enforce-version" => Some(version),
        _ => None,
    };
    let (policy, errors) = Policy::of_labels(label, &Policy::PRIVILEGED);
    assert_eq!(errors, [], "{text}");
    policy.enforce
}

#[test]
fn pods_violate_each_level_and_version_as_expected() {
    let cases = text_cases::read("pod_security");
    assert!(cases.len() > 40, "only {} cases", cases.len());
    let mut failed = Vec::new();
    for case in cases {
        let input = yaml(&case.input);
        let pod = match case.command.as_str() {
            "spec" => json!({"metadata": {"name": "p"}, "spec": input}),
            "pod" => input,
            other => panic!("unknown command {other:?} of {}", case.title),
        };
        let lines = case.expected.lines().filter(|line| !line.is_empty());
        for line in lines {
            let (policy, expected) = line.split_once(' ').unwrap_or((line, ""));
            let got = evaluate(level_version(policy), &pod).details();
            if got != expected {
                let title = &case.title;
                failed.push(format!(
                    "=== {title}, {policy}\nexpected {expected}\ngot      {got}"
                ));
            }
        }
    }
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
}

//! The Pod Security Standards: which pods the levels `privileged`, `baseline` and `restricted`
//! allow, version by version, and which of them a namespace asks for. Upstream:
//! `k8s.io/pod-security-admission`.
//!
//! Version `latest` is that of the newest check here (v1.37), whatever version of Kubernetes the
//! API server reports.

mod checks;
mod configuration;
mod policy;
mod review;

pub use self::{
    checks::{Violation, Violations, evaluate},
    configuration::{Configuration, ConfigurationError, Exemptions},
    policy::{Level, LevelVersion, Policy, Version},
    review::{Review, review},
};

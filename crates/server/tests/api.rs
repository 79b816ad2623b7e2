//! Tests of the whole server, in process and over TLS on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "api/admission.rs"]
mod admission;
#[path = "api/audit.rs"]
mod audit;
#[path = "api/authorization.rs"]
mod authorization;
#[path = "api/backup.rs"]
mod backup;
#[path = "api/bootstrap_tokens.rs"]
mod bootstrap_tokens;
#[path = "api/bounds.rs"]
mod bounds;
#[path = "api/certificates.rs"]
mod certificates;
#[path = "api/dead_store.rs"]
mod dead_store;
#[path = "api/deadlines.rs"]
mod deadlines;
#[path = "api/default_roles.rs"]
mod default_roles;
#[path = "api/discovery.rs"]
mod discovery;
#[path = "api/disk.rs"]
mod disk;
#[path = "api/encryption.rs"]
mod encryption;
#[path = "api/faults.rs"]
mod faults;
#[path = "api/flow_control.rs"]
mod flow_control;
#[path = "api/front_proxy.rs"]
mod front_proxy;
#[path = "api/harness.rs"]
mod harness;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/join.rs"]
mod join;
#[path = "api/kubernetes_service.rs"]
mod kubernetes_service;
#[path = "api/leaks.rs"]
mod leaks;
#[path = "api/metadata.rs"]
mod metadata;
#[path = "api/metrics.rs"]
mod metrics;
#[path = "api/nodes.rs"]
mod nodes;
#[path = "api/pages.rs"]
mod pages;
#[path = "api/people.rs"]
mod people;
#[path = "api/pod_security.rs"]
mod pod_security;
#[path = "api/pod_templates.rs"]
mod pod_templates;
#[path = "api/rbac.rs"]
mod rbac;
#[path = "api/resumed_watches.rs"]
mod resumed_watches;
#[path = "api/rights.rs"]
mod rights;
#[path = "api/run_time_kinds.rs"]
mod run_time_kinds;
#[path = "api/service_accounts.rs"]
mod service_accounts;
#[path = "api/services.rs"]
mod services;
#[path = "api/tls_versions.rs"]
mod tls_versions;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/verbs.rs"]
mod verbs;
#[path = "api/warnings.rs"]
mod warnings;
#[path = "api/wire.rs"]
mod wire;

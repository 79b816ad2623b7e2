//! Admission: plugins that complete and check what is written, between decoding and validation.
//! Upstream: `k8s.io/apiserver/pkg/admission`.
//!
//! The built-in plugins are those that upstream enables by default, as far as they concern the
//! served kinds. [`Config::admission`](crate::Config::admission) adds others.

mod certificates;
mod chain;
mod configuration;
mod counted;
mod default_toleration_seconds;
mod mirror_pod;
mod namespace_lifecycle;
mod node_restriction;
mod plugin;
mod pod_security;
mod priority;
mod rule;
pub(crate) mod service;
mod service_account;
mod taint_nodes_by_condition;

pub use self::{
    configuration::{AdmissionConfiguration, AdmissionConfigurationError},
    plugin::{Attributes, Plugin, Request, done},
    rule::{Fields, GroupResource, Operation, Rule},
};
pub use crate::auth::user::User;

pub(crate) use self::{chain::Chain, counted::Counted, mirror_pod::is_mirror, plugin::Cluster};

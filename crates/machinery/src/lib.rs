//! API machinery: what a Kubernetes API server does with objects, as pure functions.
//!
//! A request body is decoded into a [`serde_json::Value`] and checked against the field tables of
//! [`schema`] ([`decode`]), or made from the stored object by a patch ([`patch`],
//! [`managed_fields`]). It gets its defaults ([`defaults`]), is prepared for storage ([`strategy`])
//! and validated ([`validation`]). Responses are objects, Tables ([`table`]), discovery documents
//! ([`discovery`]), OpenAPI documents ([`openapi`]) or errors ([`status`]). The [`scheme`] lists
//! the kinds that are served.
//!
//! Nothing here does IO, logs or reads a clock: time is always an argument.

mod bounds;
pub mod decode;
pub mod default_flow_control;
pub mod default_roles;
pub mod defaults;
pub mod discovery;
pub mod event_conversion;
mod go_text;
mod json_fields;
pub mod kind;
mod kinds;
pub mod managed_fields;
pub mod openapi;
pub mod patch;
pub mod pod_security;
pub mod rbac;
pub mod schema;
pub mod scheme;
pub mod selectable_fields;
pub mod status;
pub mod strategy;
pub mod table;
pub mod validation;

pub use kind::{Kind, KindRef, Scope, Strategy};
pub use scheme::Scheme;
pub use status::Status;

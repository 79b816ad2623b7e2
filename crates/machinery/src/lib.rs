//! API machinery: what a Kubernetes API server knows about its kinds, as pure functions.
//!
//! A request body becomes a [`serde_json::Value`] that has been checked against the field tables of
//! [`schema`] (strict decoding), gets its defaults ([`defaults`]), is validated ([`validation`]) and
//! patched ([`patch`], [`apply`]); answers become Tables ([`table`]), discovery documents
//! ([`discovery`]), OpenAPI documents ([`openapi`]) or errors ([`status`]).
//!
//! This crate knows no tokio, socket, clock or log: time is always an argument.

mod access;
pub mod apply;
pub mod catalogue;
pub mod decode;
pub mod defaults;
pub mod discovery;
pub mod events;
pub mod openapi;
pub mod patch;
pub mod schema;
pub mod selectable;
pub mod status;
pub mod strategy;
pub mod table;
pub mod validation;

pub use catalogue::{Kind, Scope};
pub use status::Status;

//! The whole server in one process.

#[path = "api/harness.rs"]
mod harness;
#[path = "api/verbs.rs"]
mod verbs;

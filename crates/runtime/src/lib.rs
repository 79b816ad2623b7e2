//! The base of all processes: named tasks, shutdown, private files, logs, metrics and the bounds of
//! connections.

pub mod connections;
pub mod files;
pub mod logs;
pub mod metrics;
pub mod shutdown;
pub mod task;

pub use shutdown::Shutdown;
pub use task::{catch_panic, spawn};

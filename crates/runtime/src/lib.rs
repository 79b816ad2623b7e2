//! The base of all processes: named tasks, shutdown, private files, logs and metrics.

pub mod files;
pub mod logs;
pub mod metrics;
pub mod shutdown;
pub mod task;

pub use shutdown::Shutdown;
pub use task::{catch_panic, spawn};

//! The base of all processes: named tasks, shutdown, private files, logs, metrics, the bounds of
//! connections, and upgrades of them.

pub mod connections;
pub mod files;
pub mod logs;
pub mod metrics;
pub mod shutdown;
pub mod task;
pub mod upgrade;

pub use shutdown::Shutdown;
pub use task::{catch_panic, spawn};

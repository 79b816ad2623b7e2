//! The base of all processes: named tasks, shutdown, private files, logs, metrics, the bounds of
//! connections, connections to others, upgrades.

pub mod connections;
pub mod files;
pub mod logs;
pub mod metrics;
pub mod net;
pub mod shutdown;
pub mod task;
pub mod upgrade;

pub use shutdown::Shutdown;
pub use task::{catch_panic, spawn};

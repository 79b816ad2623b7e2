//! What every process needs: named tasks, shutdown, logs, metrics.

pub mod logs;
pub mod metrics;
pub mod shutdown;
pub mod task;

pub use shutdown::Shutdown;
pub use task::spawn;

//! What every shell needs: tasks that are named and stopped, shutdown, logs, metrics, a client.

pub mod client;
pub mod logs;
pub mod metrics;
pub mod shutdown;
pub mod task;

pub use shutdown::Shutdown;
pub use task::spawn;

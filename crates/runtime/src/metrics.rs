//! The metrics registry. It is passed as an argument; there is no global one.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::{encoding::text::encode, registry::Registry};

/// A shared Prometheus registry. Components register their metrics at start. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Calls `register` with the locked registry.
    pub fn with<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.0.lock())
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a collector fails to encode.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.lock())?;
        Ok(text)
    }
}

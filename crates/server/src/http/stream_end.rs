//! The end of the streams of an upgraded connection.

use std::{any::Any, sync::Arc};

use parking_lot::Mutex;

/// Keeps values until the streams of an upgraded connection have ended, when it drops them; an
/// extension of the response. Clones are of the same connection: the task that copies the streams
/// holds one to their end.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamEnd(Arc<Mutex<Vec<Box<dyn Any + Send>>>>);

impl StreamEnd {
    /// Drops a value at the end of the streams; at once if they have ended.
    pub(crate) fn drops(self, value: impl Any + Send) {
        self.0.lock().push(Box::new(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_dropped_with_the_last_clone() {
        for ends_first in [true, false] {
            let (value, end) = (Arc::new(()), StreamEnd::default());
            let mut streams = Some(end.clone());
            if ends_first {
                streams = None;
            }
            end.drops(Arc::clone(&value));
            assert_eq!(Arc::strong_count(&value) == 1, ends_first);
            drop(streams);
            assert_eq!(Arc::strong_count(&value), 1);
        }
    }
}

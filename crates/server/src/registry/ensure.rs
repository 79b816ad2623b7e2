//! Objects that the server keeps itself, whatever others do to them.

use pandaemon_machinery::{decode::Decoded, status::Result};
use serde_json::Value;

use super::{Call, Change, Registry, unreadable};

impl Registry {
    /// Creates an object of the server with these fields, or sets those that differ. What else it
    /// contains is kept.
    ///
    /// # Errors
    /// The status of a failed write.
    pub(crate) async fn ensure(
        &self,
        call: &Call,
        new: impl FnOnce() -> Value,
        set: impl Fn(&mut Value),
    ) -> Result<()> {
        let with_fields = |object: &Value| {
            let mut object = object.clone();
            set(&mut object);
            object
        };
        let Some(stored) = self.find(&call.kind, &call.namespace, &call.name) else {
            return self.create_own(call, with_fields(&new())).await;
        };
        let stored = stored.value().map_err(unreadable)?;
        if with_fields(&stored) == stored {
            return Ok(());
        }
        let (kind, namespace, name) = (&call.kind.kind, &call.namespace, &call.name);
        tracing::info!(
            kind,
            namespace,
            name,
            "setting fields that are the server's"
        );
        let change = |old: &Value| Ok(Change::from(with_fields(old)));
        self.guaranteed_update(call, change).await.map(drop)
    }

    /// Creates an object of the server, unless another writer has done so meanwhile.
    async fn create_own(&self, call: &Call, object: Value) -> Result<()> {
        let object = Decoded {
            value: object,
            warnings: Vec::new(),
        };
        match self.create(call, object).await {
            Err(status) if status.reason == "AlreadyExists" => Ok(()),
            other => other.map(drop),
        }
    }
}

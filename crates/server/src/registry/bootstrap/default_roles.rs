//! The default roles and bindings of RBAC. Upstream: `PostStartHook` of
//! `pkg/registry/rbac/rest/storage_rbac.go`.

use futures::future::join_all;
use pandaemon_machinery::{
    default_roles::{self, Reconciliation, reconcile_binding, reconcile_role},
    status::Result,
};
use serde_json::Value;

use super::{call_for, create};
use crate::{
    cache::object::Object,
    registry::{Registry, options::DeleteOptions, unreadable},
};

/// How often an object is tried that comes or goes meanwhile.
const TRIES: usize = 3;

/// What a stored object lacks of its default.
type Reconcile = fn(&Value, &Value) -> Reconciliation;

/// Creates the missing default roles and bindings, and adds to the others what they lack. A failure
/// is logged and concerns one object only, as upstream: the next start tries it again.
pub(crate) async fn reconcile_default_roles(registry: &Registry) {
    // A binding comes after its role. Of each kind, all are written at once: the store syncs its
    // log for many writes together.
    let kinds: [(Vec<Value>, Reconcile); 4] = [
        (default_roles::cluster_roles(), reconcile_role),
        (default_roles::cluster_role_bindings(), reconcile_binding),
        (default_roles::roles(), reconcile_role),
        (default_roles::role_bindings(), reconcile_binding),
    ];
    for (objects, reconcile) in kinds {
        let objects = objects.iter();
        let all = objects.map(|default| async move {
            if let Err(status) = reconcile_one(registry, default, reconcile).await {
                let (kind, name) = (&default["kind"], &default["metadata"]["name"]);
                tracing::error!(%kind, %name, error = %status, "default role or binding not written");
            }
        });
        join_all(all).await;
    }
}

async fn reconcile_one(registry: &Registry, default: &Value, reconcile: Reconcile) -> Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_reconcile(registry, default, reconcile).await {
            Err(status) if is_passing(&status.reason) && tries < TRIES => {}
            done => return done,
        }
    }
}

/// Whether somebody else has created, changed or deleted the object meanwhile.
fn is_passing(reason: &str) -> bool {
    matches!(reason, "AlreadyExists" | "Conflict" | "NotFound")
}

async fn try_reconcile(registry: &Registry, default: &Value, reconcile: Reconcile) -> Result<()> {
    let call = call_for(registry, default)?;
    let Some(stored) = registry.find(&call.kind, &call.namespace, &call.name) else {
        return create(registry, default.clone()).await;
    };
    match reconcile(&value(&stored)?, default) {
        Reconciliation::Nothing => Ok(()),
        Reconciliation::Update(_) => {
            let change = |stored: &Value| {
                let value = match reconcile(stored, default) {
                    Reconciliation::Update(value) => value,
                    Reconciliation::Nothing | Reconciliation::Recreate => stored.clone(),
                };
                Ok(value.into())
            };
            registry.guaranteed_update(&call, change).await.map(drop)
        }
        Reconciliation::Recreate => {
            let this_one = DeleteOptions::default();
            registry.delete(&call, &this_one).await?;
            create(registry, default.clone()).await
        }
    }
}

fn value(object: &Object) -> Result<Value> {
    object.value().map_err(unreadable)
}

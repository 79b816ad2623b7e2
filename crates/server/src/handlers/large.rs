//! Large requests leave the async workers. To parse, check and encode a body of some megabytes
//! takes up to a second, in which a worker would serve no other request: such requests run on the
//! threads for blocking work, as many at a time as there are cores. A small one stays where it is.

use std::{panic, sync::Arc};

use http::Response;
use pandaemon_machinery::{KindRef, Status, status::Result};
use tokio::{runtime::Handle, task};

use crate::{
    api::{Api, Incoming},
    handlers::resource,
    http::{
        body::Body,
        request::{ResourcePath, Verb},
    },
};

/// Size of a body, or of the stored object that a request changes, from which on it is large, in
/// bytes.
const LARGE: usize = 64 << 10;

/// Handles a resource request, see [`resource::answer`].
///
/// # Errors
/// The status of the failure.
pub(crate) async fn answer(
    api: &Arc<Api>,
    incoming: Incoming,
    path: ResourcePath,
    kind: Option<KindRef>,
    verb: Option<Verb>,
) -> Result<Response<Body>> {
    if !is_large(api, &incoming, &path, kind.as_ref(), verb) {
        return resource::answer(api, incoming, &path, kind, verb).await;
    }
    let stopping = || Status::failure(503, "ServiceUnavailable", "the server is shutting down");
    let permit = api.large_requests.wait().await.ok_or_else(stopping)?;
    let (api, runtime) = (Arc::clone(api), Handle::current());
    // It runs to its end also if the client leaves, and so does the permit.
    let work = task::spawn_blocking(move || {
        let _permit = permit;
        runtime.block_on(resource::answer(&api, incoming, &path, kind, verb))
    });
    match work.await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            Err(_) => Err(stopping()),
        },
    }
}

fn is_large(
    api: &Api,
    incoming: &Incoming,
    path: &ResourcePath,
    kind: Option<&KindRef>,
    verb: Option<Verb>,
) -> bool {
    if incoming.body.len() >= LARGE {
        return true;
    }
    let (Some(kind), Some(name), Some(Verb::Update | Verb::Patch)) = (kind, &path.name, verb)
    else {
        return false;
    };
    let namespace = path.namespace.as_deref().unwrap_or_default();
    let stored = api.registry.find(kind, namespace, name);
    stored.is_some_and(|object| object.len() >= LARGE)
}

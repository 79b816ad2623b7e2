//! `POST /pandaemon/v1/rotate-keys`: new keys of encryption at rest. Only a user who may `post` to
//! that path gets here: an administrator.

use std::sync::Arc;

use http::{Method, Response};
use pandaemon_machinery::{Status, status::Result};
use pandaemon_store::encryption::{EncryptedStore, Error};
use serde_json::json;

use crate::{
    api::{Api, Incoming},
    handlers::response,
    http::{body::Body, negotiate::Form},
};

/// The path of the request.
pub(crate) const PATH: &str = "/pandaemon/v1/rotate-keys";

/// Makes a new key and encrypts everything with it. Answers when the old keys are gone.
///
/// # Errors
/// 405 for other methods than POST, 404 without encryption, 409 during another rotation, 500 if
/// the rotation fails.
pub(crate) async fn answer(api: &Api, incoming: &Incoming) -> Result<Response<Body>> {
    if incoming.parts.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    let store = api.encryption.as_ref().ok_or_else(Status::path_not_found)?;
    let store: Arc<EncryptedStore> = Arc::clone(store);
    // A client that leaves does not break it off.
    let rotation =
        pandaemon_runtime::spawn("rotate-keys", async move { store.rotate(&|_, _| {}).await });
    let rotation = match rotation.await {
        Ok(Some(rotation)) => rotation,
        Ok(None) | Err(_) => return Err(Status::internal("the rotation panicked")),
    };
    let rotation = rotation.map_err(|error| match error {
        Error::Busy => Status::failure(409, "Conflict", error.to_string()),
        error => Status::internal(error),
    })?;
    tracing::info!(user = incoming.user.name, key = %rotation.key, "rotated the encryption keys");
    let unreadable: Vec<&str> = rotation.unreadable.iter().map(|key| &**key).collect();
    let result = json!({
        "key": rotation.key.to_string(),
        "rewritten": rotation.rewritten,
        "unreadable": unreadable,
    });
    Ok(response::value(200, &Form::default(), &result))
}

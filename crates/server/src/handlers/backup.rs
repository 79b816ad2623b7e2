//! `POST /pandaemon/v1/backup`: a backup of this control plane. Only a user who may `post` to that
//! path gets here: an administrator. It is no GET, as roles that may read every path are common.

use http::{Method, Response};
use pandaemon_machinery::{Status, status::Result};
use pandaemon_store::encryption::Error;

use crate::{
    api::{Api, Incoming},
    backup::{self, BackupBody},
    handlers::response,
    http::body::Body,
};

/// Sends a backup; with the keys and CAs of the data directory if the query has
/// `includeKeys=true`.
///
/// # Errors
/// 405 for other methods than POST, 404 for a store that is backed up by other means, 409 during
/// another backup or a rotation of keys, 500 if something cannot be read.
pub(crate) async fn answer(api: &Api, incoming: &Incoming) -> Result<Response<Body>> {
    if incoming.parts.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    let store = api.encryption.as_ref().ok_or_else(Status::path_not_found)?;
    let conflict = |text: String| Status::failure(409, "Conflict", text);
    let busy = "another backup is being taken; take this one when that is over";
    let permit = api.backups.try_begin();
    let permit = permit.ok_or_else(|| conflict(busy.to_owned()))?;
    let has_keys = incoming.query.flag("includeKeys");
    let snapshot = store.snapshot().await.map_err(|error| match error {
        Error::Busy => conflict(error.to_string()),
        Error::NoSnapshot => Status::path_not_found(),
        error => Status::internal(error),
    })?;
    let stream = backup::begin(snapshot, api.pki.data_dir(), has_keys);
    let stream = stream.map_err(Status::internal)?;
    tracing::info!(user = incoming.user.name, has_keys, "a backup is taken");
    let body = Body::Backup(Box::new(BackupBody::new(stream, permit)));
    Ok(response::with_type(200, "application/octet-stream", body))
}

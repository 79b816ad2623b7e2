//! The objects in events: bodies of requests and responses as JSON.

use bytes::Bytes;
use pandaemon_machinery::{
    KindRef, Scheme,
    decode::{self, FieldValidation, MediaType},
};
use serde::Deserialize;
use serde_json::Value;

/// What the metadata of a written object says about it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Identity {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
}

/// The identity of the object in a JSON body.
pub(super) fn identity(body: &[u8]) -> Identity {
    #[derive(Deserialize)]
    struct Object {
        #[serde(default)]
        metadata: Identity,
    }
    let object: Option<Object> = serde_json::from_slice(body).ok();
    object.map(|object| object.metadata).unwrap_or_default()
}

/// A body as JSON; `None` if it is empty or cannot be read.
pub(super) fn decoded(
    media: &str,
    body: &Bytes,
    kind: Option<(&Scheme, &KindRef)>,
    without_managed_fields: bool,
) -> Option<Value> {
    let media = media.split(';').next().unwrap_or_default().trim();
    let mut value = match media {
        _ if body.is_empty() => return None,
        "application/yaml" | "application/apply-patch+yaml" => {
            serde_saphyr::from_slice(body).ok()?
        }
        "application/vnd.kubernetes.protobuf" => {
            let (scheme, kind) = kind?;
            let (media, validation) = (MediaType::Protobuf, FieldValidation::Ignore);
            decode::decode(scheme, kind, body, media, validation)
                .ok()?
                .value
        }
        _ => serde_json::from_slice(body).ok()?,
    };
    if without_managed_fields {
        remove_managed_fields(&mut value);
    }
    Some(value)
}

/// Removes `metadata.managedFields` of an object, and of the items of a list.
fn remove_managed_fields(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for item in value
        .get_mut("items")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        remove_managed_fields(item);
    }
}

//! The steps that a server takes with the body of a create or an update, without admission.

use pandaemon_machinery::{
    Kind, Status,
    decode::{self, FieldValidation, MediaType},
    defaults, scheme, strategy,
    validation::{self, FieldError},
};
use serde_json::Value;

/// The kind of a resource, by `VERSION` or `GROUP/VERSION` and plural.
pub(crate) fn kind(api_version: &str, plural: &str) -> &'static Kind {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    scheme::built_in()
        .find_resource(group, version, plural)
        .expect("a served resource")
}

/// The object that a create would store, and its validation errors. `admit` is called before
/// validation.
pub(crate) fn create(
    kind: &Kind,
    namespace: &str,
    body: (&[u8], MediaType),
    mode: FieldValidation,
    admit: impl FnOnce(&mut Value),
) -> Result<(Value, Vec<FieldError>), Box<Status>> {
    let mut object = decode::decode(scheme::built_in(), kind, body.0, body.1, mode)?.value;
    if kind.is_namespaced() {
        object["metadata"]["namespace"] = namespace.into();
    }
    defaults::apply_defaults(kind, &mut object);
    strategy::prepare_create(kind, &mut object);
    admit(&mut object);
    let errors = validation::validate_create(kind, &object);
    Ok((object, errors))
}

/// The object that an update of `old` to `new` would store, and its validation errors.
/// `subresource` is empty for the object itself.
pub(crate) fn update(
    kind: &Kind,
    subresource: &str,
    old: &Value,
    new: Value,
    mode: FieldValidation,
) -> Result<(Value, Vec<FieldError>), Box<Status>> {
    let mut new = decode::decode_value(scheme::built_in(), kind, new, mode)?.value;
    if kind.is_namespaced() {
        new["metadata"]["namespace"] = old["metadata"]["namespace"].clone();
    }
    defaults::apply_defaults(kind, &mut new);
    strategy::prepare_update(kind, subresource, old, &mut new);
    let errors = validation::validate_update(kind, subresource, old, &new);
    Ok((new, errors))
}

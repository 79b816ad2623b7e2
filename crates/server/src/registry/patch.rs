//! PATCH: JSON patch, JSON merge patch, strategic merge patch and server-side apply.

use pandaemon_machinery::{
    Kind, Status,
    decode::{self, FieldValidation, MediaType},
    managed_fields, patch,
    status::Result,
};
use serde::Deserialize;
use serde_json::Value;

use super::{Call, Change, Registry, Written, create, lease_renewal::RenewalForm, update};
use crate::{admission::Operation, http::negotiate, registry::meta};

/// The type of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    /// JSON patch, RFC 6902.
    Json,
    /// JSON merge patch, RFC 7386.
    Merge,
    /// Strategic merge patch: lists are merged by the merge keys of the schema.
    Strategic,
    /// Server-side apply (`application/apply-patch+yaml`).
    Apply,
}

impl PatchType {
    /// All types, in the order in which errors list them.
    const ALL: [Self; 4] = [Self::Json, Self::Merge, Self::Strategic, Self::Apply];

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }

    /// Whether objects of the kind can be patched so. Schemas of kinds that come at run time have
    /// no patch strategies.
    const fn serves(self, kind: &Kind) -> bool {
        !matches!(self, Self::Strategic) || kind.built_type.is_none()
    }

    /// The patch type of a `Content-Type`.
    ///
    /// # Errors
    /// 415 for any other content type, and for one that the kind does not support.
    pub(crate) fn parse(kind: &Kind, content_type: &str) -> Result<Self> {
        let served = Self::ALL.into_iter().filter(|form| form.serves(kind));
        let mut found = served
            .clone()
            .filter(|form| form.content_type() == content_type);
        found.next().ok_or_else(|| {
            let accepted: Vec<&str> = served.map(Self::content_type).collect();
            negotiate::unsupported(content_type, &accepted.join(", "))
        })
    }
}

impl Registry {
    /// Patches one object.
    ///
    /// # Errors
    /// The status of a failed check or write: 400, 403, 404, 409, 415, 422 or 503.
    pub(crate) async fn patch(&self, call: &Call, form: PatchType, body: &[u8]) -> Result<Written> {
        match form {
            PatchType::Apply => return self.apply(call, body).await,
            PatchType::Merge => {
                let form = RenewalForm::MergePatch;
                if let Some(renewed) = self.renew_lease(call, form, body).await? {
                    return Ok(renewed);
                }
            }
            PatchType::Json | PatchType::Strategic => {}
        }
        self.patch_full(call, form, body).await
    }

    /// Patches one object on the full path.
    pub(super) async fn patch_full(
        &self,
        call: &Call,
        form: PatchType,
        body: &[u8],
    ) -> Result<Written> {
        // A JSON patch can test and copy any field. The other types name the fields that they
        // change, and a patch of the status cannot change the spec.
        let keeps_spec = form != PatchType::Json && call.subresource == "status";
        let request = call.request(Operation::Update);
        let spec_fields = keeps_spec.then(|| self.admission.spec_fields(request));
        let spec_fields = spec_fields.flatten();
        self.guaranteed_update_with(call, spec_fields.as_deref(), |old| {
            let new = patched(call, form, old, body)?;
            // As upstream, a strategic merge patch is named in the error, else the patched object.
            let refuse = |why: &str| match form {
                PatchType::Strategic | PatchType::Apply => {
                    patch::invalid::strategic_patch(body, why)
                }
                PatchType::Json | PatchType::Merge => match patched(call, form, old, body) {
                    Ok(object) => patch::invalid::patched_object(&object, why),
                    Err(status) => status,
                },
            };
            let validation = call.options.validation;
            let mut decoded =
                decode::decode_patched(&call.scheme, &call.kind, new, validation, refuse)?;
            create::set_namespace(call, &mut decoded.value)?;
            update::check_name(call, &decoded.value)?;
            Ok(Change::from(decoded))
        })
        .await
    }

    /// Server-side apply. Creates the object if it does not exist.
    async fn apply(&self, call: &Call, body: &[u8]) -> Result<Written> {
        check_applied_version(call, body)?;
        let decoded = decode_config(call, body)?;
        let mut config = decoded.value;
        create::set_namespace(call, &mut config)?;
        if !meta::name(&config).is_empty() {
            update::check_name(call, &config)?;
        }
        let (config, warnings) = (&config, &decoded.warnings);
        self.update_or_create(
            call,
            call.subresource.is_empty(),
            || self.apply_to_existing(call, config, warnings),
            || self.apply_new(call, config, warnings),
        )
        .await
    }

    async fn apply_to_existing(
        &self,
        call: &Call,
        config: &Value,
        warnings: &[String],
    ) -> Result<Written> {
        let time = call.time();
        self.guaranteed_update(call, |old| {
            let (kind, force) = (&call.kind, call.options.force);
            let manager = create::manager(call, &time);
            let value = managed_fields::apply(kind, Some(old), config, manager, force)?;
            let checked = decode::decode_value(&call.scheme, kind, value, FieldValidation::Ignore)?;
            Ok(Change {
                value: checked.value,
                warnings: warnings.to_vec(),
                is_applied: true,
            })
        })
        .await
    }

    async fn apply_new(&self, call: &Call, config: &Value, warnings: &[String]) -> Result<Written> {
        update::check_name(call, config)?;
        let uid = meta::text(config, "uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Status::conflict(&call.kind, &call.name, &why));
        }
        call.check_may_create().await?;
        let time = call.time();
        let manager = create::manager(call, &time);
        let mut value =
            managed_fields::apply(&call.kind, None, config, manager, call.options.force)?;
        meta::set(&mut value, "resourceVersion", "");
        pandaemon_machinery::defaults::apply_defaults(&call.kind, &mut value);
        let new = Change {
            value,
            warnings: warnings.to_vec(),
            is_applied: true,
        };
        self.create_new(call, new).await
    }
}

fn patched(call: &Call, form: PatchType, old: &Value, body: &[u8]) -> Result<Value> {
    match form {
        PatchType::Json => patch::json_patch(old, body),
        PatchType::Merge => patch::merge_patch(old, body),
        PatchType::Strategic | PatchType::Apply => {
            patch::strategic_merge_patch(&call.kind, old, body)
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: String,
}

/// Checks the version of an applied configuration, which is required, unlike in other bodies.
fn check_applied_version(call: &Call, body: &[u8]) -> Result<()> {
    let read = |why: String| Status::bad_request(format!("error decoding YAML: {why}"));
    let given: TypeMeta = match serde_json::from_slice(body) {
        Ok(given) => given,
        Err(_) => serde_saphyr::from_slice(body).map_err(|e| read(e.to_string()))?,
    };
    let (given, expected) = (given.api_version, call.kind.api_version());
    if given == expected {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "Incorrect version specified in apply patch. Specified patch version: {given}, expected: {expected}"
    )))
}

/// Decodes an applied configuration. Unknown fields and wrong types are schema errors, whatever the
/// field validation of the request, and have other texts than in other bodies.
fn decode_config(call: &Call, body: &[u8]) -> Result<decode::Decoded> {
    let decode = |mode| decode::decode(&call.scheme, &call.kind, body, MediaType::Yaml, mode);
    match decode(FieldValidation::Warn) {
        Ok(decoded) if decoded.warnings.is_empty() => return Ok(decoded),
        Ok(_) | Err(_) => {}
    }
    let sent = decode::parse_json(body)
        .ok()
        .or_else(|| decode::parse_yaml(body).ok());
    let checked = sent.map_or(Ok(()), |sent| {
        managed_fields::check_applied_config(&call.kind, &sent)
    });
    match checked {
        Err(status) if status.code == 500 => Err(status),
        _ => decode(call.options.validation),
    }
}

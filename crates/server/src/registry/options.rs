//! Options of writes: `dryRun`, `fieldManager`, `fieldValidation`, `force`, and `DeleteOptions`.
//! Upstream: `meta/v1` options and `meta/v1/validation`.

use http::{HeaderMap, header};
use pandaemon_machinery::{
    Status,
    decode::FieldValidation,
    status::{Cause, Details, Result},
    validation::{ErrorType, FieldError},
};
use serde::Deserialize;
use serde_json::Value;

use crate::http::request::{Query, Verb};

/// The options of a write, from its query.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteOptions {
    /// Run all checks and answer, but store nothing (`dryRun=All`).
    pub dry_run: bool,
    /// The field manager of the query, if it names one.
    pub field_manager: Option<String>,
    /// The handling of unknown and duplicate fields.
    pub validation: FieldValidation,
    /// Whether server-side apply takes over fields of other managers.
    pub force: bool,
}

/// The option to delete an object whose stored value cannot be read.
pub(super) const IGNORE_READ_ERROR: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";

/// Maximum length of the name of a field manager, in bytes.
const MANAGER_MAX: usize = 128;

impl WriteOptions {
    /// Parses and validates the query of a write.
    ///
    /// # Errors
    /// 422 for invalid values.
    pub(crate) fn parse(verb: Verb, is_apply: bool, query: &Query) -> Result<Self> {
        let kind = match verb {
            Verb::Create => "CreateOptions",
            Verb::Patch => "PatchOptions",
            Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
            Verb::Update | Verb::Get | Verb::List | Verb::Watch => "UpdateOptions",
        };
        let mut errors = Vec::new();
        let dry_runs: Vec<&str> = query.all("dryRun").filter(|v| !v.is_empty()).collect();
        check_dry_run(&dry_runs, &mut errors);
        let manager = query.filled("fieldManager");
        check_manager(manager, is_apply, &mut errors);
        if verb == Verb::Patch && !is_apply && query.get("force").is_some() {
            errors.push(fault(
                "force",
                ErrorType::Forbidden,
                "may not be specified for non-apply patch",
            ));
        }
        let validation = validation(query.filled("fieldValidation"), &mut errors);
        if !errors.is_empty() {
            return Err(invalid_options(kind, &errors));
        }
        Ok(Self {
            dry_run: !dry_runs.is_empty(),
            field_manager: manager.map(str::to_owned),
            validation,
            force: query.flag("force"),
        })
    }

    /// The manager that will own the written fields: the field manager of the query, or the part of
    /// the User-Agent before `/`.
    #[must_use]
    pub(crate) fn manager(&self, headers: &HeaderMap) -> String {
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let name = self
            .field_manager
            .as_deref()
            .unwrap_or_else(|| agent.split('/').next().unwrap_or_default());
        let name: String = name
            .chars()
            .filter(|c| !c.is_control())
            .take(MANAGER_MAX)
            .collect();
        if name.is_empty() {
            "unknown".to_owned()
        } else {
            name
        }
    }
}

fn fault(field: &str, what: ErrorType, detail: &str) -> FieldError {
    FieldError {
        field: field.into(),
        error_type: what,
        detail: detail.into(),
    }
}

fn check_dry_run(values: &[&str], errors: &mut Vec<FieldError>) {
    if values.is_empty() || values == ["All"] {
        return;
    }
    let shown: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
    let what = ErrorType::NotSupported(format!("[]string{{{}}}", shown.join(", ")));
    errors.push(fault("dryRun", what, "supported values: \"All\""));
}

fn check_manager(manager: Option<&str>, is_apply: bool, errors: &mut Vec<FieldError>) {
    match manager {
        None if is_apply => {
            errors.push(fault(
                "fieldManager",
                ErrorType::Required,
                "is required for apply patch",
            ));
        }
        Some(name) if name.len() > MANAGER_MAX => {
            errors.push(fault(
                "fieldManager",
                ErrorType::TooLong,
                "may not be more than 128 bytes",
            ));
        }
        Some(name) if name.chars().any(char::is_control) => {
            let what = ErrorType::Invalid(format!("{name:?}"));
            errors.push(fault(
                "fieldManager",
                what,
                "should only contain printable characters",
            ));
        }
        Some(_) | None => {}
    }
}

fn validation(value: Option<&str>, errors: &mut Vec<FieldError>) -> FieldValidation {
    match value {
        None | Some("Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let what = ErrorType::NotSupported(format!("{other:?}"));
            let detail = "supported values: \"Ignore\", \"Strict\", \"Warn\"";
            errors.push(fault("fieldValidation", what, detail));
            FieldValidation::Warn
        }
    }
}

/// The status of invalid options of a request (422).
#[must_use]
pub(crate) fn invalid_options(kind: &str, errors: &[FieldError]) -> Box<Status> {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let list = match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let causes = errors.iter().map(|error| Cause {
        reason: error.reason().into(),
        message: error.detail_text(),
        field: error.field.clone(),
    });
    let details = Details {
        group: "meta.k8s.io".into(),
        kind: kind.into(),
        causes: causes.collect(),
        ..Details::default()
    };
    let text = format!("{kind}.meta.k8s.io \"\" is invalid: {list}");
    Status::failure(422, "Invalid", text).with_details(details)
}

/// The preconditions of a deletion.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Preconditions {
    /// The required uid.
    pub uid: Option<String>,
    /// The required resource version.
    pub resource_version: Option<String>,
}

/// What happens to the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// The garbage collector deletes them after the object.
    Background,
    /// The garbage collector deletes them before the object.
    Foreground,
    /// They are kept and lose their owner reference.
    Orphan,
}

/// The options of a deletion (`DeleteOptions`).
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    /// The grace period, in seconds.
    pub grace_seconds: Option<i64>,
    /// The preconditions on uid and resource version.
    pub preconditions: Preconditions,
    /// The propagation policy; `None` for the default of the kind.
    pub propagation: Option<Propagation>,
    /// Run all checks and answer, but delete nothing.
    pub dry_run: bool,
    /// Delete an object whose stored value cannot be read
    /// (`ignoreStoreReadErrorWithClusterBreakingPotential`).
    pub ignore_read_error: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DeleteBody {
    grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    dry_run: Option<Vec<String>>,
    #[serde(rename = "ignoreStoreReadErrorWithClusterBreakingPotential")]
    ignore_read_error: Option<bool>,
}

impl DeleteOptions {
    /// Parses and validates the body of a DELETE, or its query if it has no body.
    ///
    /// # Errors
    /// 400 if it cannot be parsed, 422 for invalid values.
    pub(crate) fn parse(query: &Query, body: Option<&Value>) -> Result<Self> {
        let body = match body {
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|e| Status::bad_request(format!("error decoding DeleteOptions: {e}")))?,
            None => from_query(query)?,
        };
        let mut errors = Vec::new();
        let dry_run = body.dry_run.unwrap_or_default();
        check_dry_run(
            &dry_run.iter().map(String::as_str).collect::<Vec<_>>(),
            &mut errors,
        );
        if body.grace_period_seconds.is_some_and(|s| s < 0) {
            let what =
                ErrorType::Invalid(body.grace_period_seconds.unwrap_or_default().to_string());
            errors.push(fault(
                "gracePeriodSeconds",
                what,
                "must be greater than or equal to 0",
            ));
        }
        let policy = body.propagation_policy.as_deref().filter(|p| !p.is_empty());
        if policy.is_some() && body.orphan_dependents.is_some() {
            let what = ErrorType::Invalid(format!("{:?}", policy.unwrap_or_default()));
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(fault("propagationPolicy", what, detail));
        }
        let propagation = propagation(policy, body.orphan_dependents, &mut errors);
        if !errors.is_empty() {
            return Err(invalid_options("DeleteOptions", &errors));
        }
        Ok(Self {
            grace_seconds: body.grace_period_seconds,
            preconditions: body.preconditions.unwrap_or_default(),
            propagation,
            dry_run: !dry_run.is_empty(),
            ignore_read_error: body.ignore_read_error.unwrap_or_default(),
        })
    }
}

fn from_query(query: &Query) -> Result<DeleteBody> {
    let dry_run: Vec<String> = query.all("dryRun").map(str::to_owned).collect();
    Ok(DeleteBody {
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        preconditions: None,
        propagation_policy: query.filled("propagationPolicy").map(str::to_owned),
        orphan_dependents: query
            .get("orphanDependents")
            .map(|v| v == "true" || v == "1"),
        dry_run: Some(dry_run),
        ignore_read_error: Some(query.flag(IGNORE_READ_ERROR)),
    })
}

fn propagation(
    policy: Option<&str>,
    orphan: Option<bool>,
    errors: &mut Vec<FieldError>,
) -> Option<Propagation> {
    match policy {
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some("Orphan") => Some(Propagation::Orphan),
        Some(other) => {
            let what = ErrorType::NotSupported(format!("{other:?}"));
            let detail = "supported values: \"Background\", \"Foreground\", \"Orphan\", nil";
            errors.push(fault("propagationPolicy", what, detail));
            None
        }
        None => orphan.map(|orphan| match orphan {
            true => Propagation::Orphan,
            false => Propagation::Background,
        }),
    }
}

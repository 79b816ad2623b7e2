//! Options of writes: `dryRun`, `fieldManager`, `fieldValidation`, `force`, and `DeleteOptions`.

use http::{HeaderMap, header};
use pandaemon_machinery::{
    Status,
    decode::FieldValidation,
    status::{Cause, Details, Result},
    validation::{ErrorType, FieldError},
};
use serde::Deserialize;
use serde_json::Value;

use crate::request::{Query, Verb};

/// Options of a write.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Answer as if, and store nothing.
    pub dry_run: bool,
    /// The query's field manager, as the client gave it.
    pub field_manager: Option<String>,
    /// What to do with unknown fields.
    pub validation: FieldValidation,
    /// Take over fields of other managers (server-side apply).
    pub force: bool,
}

/// The longest name of a field manager.
const MANAGER_MAX: usize = 128;

impl WriteOptions {
    /// Reads the query of a write.
    ///
    /// # Errors
    /// 422 for values that are not allowed.
    pub fn parse(verb: Verb, is_apply: bool, query: &Query) -> Result<Self> {
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

    /// Who owns what this write sets: the field manager, or the first word of the user agent.
    #[must_use]
    pub fn manager(&self, headers: &HeaderMap) -> String {
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

/// 422 about the options of a request.
#[must_use]
pub fn invalid_options(kind: &str, errors: &[FieldError]) -> Box<Status> {
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

/// What must hold for a delete.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    /// The uid the object must have.
    pub uid: Option<String>,
    /// The resource version the object must have.
    pub resource_version: Option<String>,
}

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They are removed later.
    Background,
    /// They are removed first.
    Foreground,
    /// They stay.
    Orphan,
}

/// `DeleteOptions`.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// How long the object has to end.
    pub grace_seconds: Option<i64>,
    /// What must hold.
    pub preconditions: Preconditions,
    /// What happens to dependents.
    pub propagation: Option<Propagation>,
    /// Answer as if.
    pub dry_run: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DeleteBody {
    grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    dry_run: Option<Vec<String>>,
}

impl DeleteOptions {
    /// Reads the body of a DELETE, or its query if there is no body.
    ///
    /// # Errors
    /// 400 for what cannot be read, 422 for values that are not allowed.
    pub fn parse(query: &Query, body: Option<&Value>) -> Result<Self> {
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
        })
    }
}

fn from_query(query: &Query) -> Result<DeleteBody> {
    let grace = query
        .filled("gracePeriodSeconds")
        .map(str::parse)
        .transpose();
    let grace = grace.map_err(|_| Status::bad_request("gracePeriodSeconds: must be an integer"))?;
    let dry_run: Vec<String> = query.all("dryRun").map(str::to_owned).collect();
    Ok(DeleteBody {
        grace_period_seconds: grace,
        preconditions: None,
        propagation_policy: query.filled("propagationPolicy").map(str::to_owned),
        orphan_dependents: query
            .get("orphanDependents")
            .map(|v| v == "true" || v == "1"),
        dry_run: Some(dry_run),
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

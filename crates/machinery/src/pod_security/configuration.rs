//! The configuration of the admission plugin `PodSecurity`: defaults for namespaces without labels,
//! and exemptions. Upstream: `PodSecurityConfiguration` of `pod-security.admission.config.k8s.io`.

use serde::Deserialize;
use serde_json::Value;

use super::policy::{Level, LevelVersion, Policy, Version};
use crate::{
    go_text::quote,
    validation::{ErrorType, FieldError, names},
};

/// The API group of the configuration.
const GROUP: &str = "pod-security.admission.config.k8s.io";
/// Its versions, which do not differ.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];
const KIND: &str = "PodSecurityConfiguration";

/// What applies in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The policy of namespaces without labels.
    pub defaults: Policy,
    /// What is never checked.
    pub exemptions: Exemptions,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            defaults: Policy::PRIVILEGED,
            exemptions: Exemptions::default(),
        }
    }
}

/// What is never checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Exemptions {
    /// Users whose pods are not checked.
    pub usernames: Vec<String>,
    /// Namespaces whose pods are not checked.
    pub namespaces: Vec<String>,
    /// Runtime classes whose pods are not checked.
    pub runtime_classes: Vec<String>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It is an object of another kind.
    #[error(
        "expected kind {KIND} of {GROUP} (v1, v1beta1 or v1alpha1), found kind {kind:?} of apiVersion {api_version:?}"
    )]
    OtherKind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// A field is unknown or has a value of another type.
    #[error("read the {KIND}: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Fields have values that are not allowed.
    #[error("the {KIND} is invalid: {}", listed(.0))]
    Invalid(Vec<FieldError>),
}

fn listed(errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// The configuration as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    defaults: Option<Defaults>,
    exemptions: Option<Exemptions>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Defaults {
    enforce: String,
    enforce_version: String,
    audit: String,
    audit_version: String,
    warn: String,
    warn_version: String,
}

impl Configuration {
    /// Reads a configuration. An empty one (null) is the default.
    ///
    /// # Errors
    /// [`ConfigurationError`] names the fields at fault.
    pub fn read(written: Value) -> Result<Self, ConfigurationError> {
        if written.is_null() {
            return Ok(Self::default());
        }
        let text = |field| written[field].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let version = api_version
            .split_once('/')
            .filter(|(group, _)| *group == GROUP);
        if kind != KIND || version.is_none_or(|(_, version)| !VERSIONS.contains(&version)) {
            return Err(ConfigurationError::OtherKind { api_version, kind });
        }
        let written: Written = serde_json::from_value(written)?;
        let mut errors = Vec::new();
        let defaults = written.defaults.unwrap_or_default().read(&mut errors);
        let exemptions = written.exemptions.unwrap_or_default();
        exemptions.validate(&mut errors);
        if !errors.is_empty() {
            return Err(ConfigurationError::Invalid(errors));
        }
        Ok(Self {
            defaults,
            exemptions,
        })
    }
}

impl Defaults {
    fn read(&self, errors: &mut Vec<FieldError>) -> Policy {
        let mut mode = |name: &str, level: &str, version: &str| LevelVersion {
            level: read(name, level, Level::parse, Level::Privileged, errors),
            version: read(
                &format!("{name}-version"),
                version,
                Version::parse,
                Version::Latest,
                errors,
            ),
        };
        Policy {
            enforce: mode("enforce", &self.enforce, &self.enforce_version),
            warn: mode("warn", &self.warn, &self.warn_version),
            audit: mode("audit", &self.audit, &self.audit_version),
        }
    }
}

/// A default; an empty one is `otherwise`.
fn read<T>(
    field: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
    otherwise: T,
    errors: &mut Vec<FieldError>,
) -> T {
    if text.is_empty() {
        return otherwise;
    }
    parse(text).unwrap_or_else(|why| {
        let field = format!("defaults.{field}");
        errors.push(FieldError::new(field, ErrorType::Invalid(quote(text)), why));
        otherwise
    })
}

impl Exemptions {
    /// Whether pods of this runtime class are not checked; the empty one is none.
    #[must_use]
    pub fn exempts_runtime_class(&self, name: &str) -> bool {
        !name.is_empty() && self.runtime_classes.iter().any(|exempt| exempt == name)
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let mut check = |list: &str, names: &[String], faults_of: fn(&str) -> Vec<String>| {
            for (at, name) in names.iter().enumerate() {
                let field = format!("exemptions.{list}[{at}]");
                let faults = faults_of(name).join(", ");
                if !faults.is_empty() {
                    let invalid = ErrorType::Invalid(quote(name));
                    errors.push(FieldError::new(field, invalid, faults));
                } else if names[..at].contains(name) {
                    let duplicate = ErrorType::Duplicate(quote(name));
                    errors.push(FieldError::new(field, duplicate, ""));
                }
            }
        };
        check("namespaces", &self.namespaces, names::label);
        check("runtimeClasses", &self.runtime_classes, names::subdomain);
        check("usernames", &self.usernames, |name| match name {
            "" => vec!["username must not be empty".to_owned()],
            _ => Vec::new(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(version: &str, defaults: &Value, exemptions: &Value) -> Value {
        json!({"apiVersion": format!("{GROUP}/{version}"), "kind": KIND,
            "defaults": defaults, "exemptions": exemptions})
    }

    fn error(written: Value) -> String {
        Configuration::read(written).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_written_is_privileged_and_exempts_nothing() {
        assert_eq!(
            Configuration::read(Value::Null).unwrap(),
            Configuration::default()
        );
        for version in VERSIONS {
            let none = written(version, &Value::Null, &Value::Null);
            assert_eq!(Configuration::read(none).unwrap(), Configuration::default());
            let some = written(
                version,
                &json!({"enforce": "baseline", "enforce-version": "v1.7", "warn": ""}),
                &json!({"usernames": ["alice", "bob"], "runtimeClasses": ["special"]}),
            );
            let expected = Configuration {
                defaults: Policy {
                    enforce: LevelVersion {
                        level: Level::Baseline,
                        version: Version::Minor(7),
                    },
                    ..Policy::PRIVILEGED
                },
                exemptions: Exemptions {
                    usernames: vec!["alice".into(), "bob".into()],
                    namespaces: Vec::new(),
                    runtime_classes: vec!["special".into()],
                },
            };
            assert_eq!(Configuration::read(some).unwrap(), expected);
        }
    }

    #[test]
    fn another_kind_or_field_is_refused_by_name() {
        let other = written("v99", &json!({}), &json!({}));
        assert_eq!(
            error(other),
            "expected kind PodSecurityConfiguration of pod-security.admission.config.k8s.io (v1, v1beta1 or v1alpha1), found kind \"PodSecurityConfiguration\" of apiVersion \"pod-security.admission.config.k8s.io/v99\""
        );
        let unknown = written("v1", &json!({"enforceVersion": "v1.7"}), &json!({}));
        let text = error(unknown);
        assert!(text.contains("unknown field `enforceVersion`"), "{text}");
        let text = error(written("v1", &json!({"enforce": 1}), &json!({})));
        assert!(text.contains("invalid type: integer `1`"), "{text}");
    }

    #[test]
    fn each_value_that_is_not_allowed_is_an_error() {
        let defaults = json!({"enforce": "baslein", "enforce-version": "v.122", "audit": "lorum"});
        let long = "test".repeat(16);
        let exemptions = json!({
            "namespaces": ["", "_&$%#", "TEST", long, "ok", "ok"],
            "runtimeClasses": ["", "TEST", "ok", "ok"],
            "usernames": ["", "ok", "ok"],
        });
        let read = Configuration::read(written("v1", &defaults, &exemptions));
        let Err(ConfigurationError::Invalid(errors)) = read else {
            panic!("{read:?}");
        };
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "defaults.enforce",
                "defaults.enforce-version",
                "defaults.audit",
                "exemptions.namespaces[0]",
                "exemptions.namespaces[1]",
                "exemptions.namespaces[2]",
                "exemptions.namespaces[3]",
                "exemptions.namespaces[5]",
                "exemptions.runtimeClasses[0]",
                "exemptions.runtimeClasses[1]",
                "exemptions.runtimeClasses[3]",
                "exemptions.usernames[0]",
                "exemptions.usernames[2]",
            ]
        );
        for (at, text) in [
            (
                0,
                "defaults.enforce: Invalid value: \"baslein\": must be one of privileged, baseline, restricted",
            ),
            (
                1,
                "defaults.enforce-version: Invalid value: \"v.122\": must be \"latest\" or \"v1.x\"",
            ),
            (7, "exemptions.namespaces[5]: Duplicate value: \"ok\""),
            (
                11,
                "exemptions.usernames[0]: Invalid value: \"\": username must not be empty",
            ),
        ] {
            assert_eq!(errors[at].to_string(), text);
        }
    }
}

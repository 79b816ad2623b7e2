//! `Secret`.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::{kind, names},
    table::{self, Printer},
    validation::{ErrorList, simple},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "Secret", "secrets", "secret",
    storage: "secrets".into(), selectable_fields: names!["type"], strategy: Box::new(SecretStrategy))
}

#[derive(Debug)]
struct SecretStrategy;

impl Strategy for SecretStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::simple::secret(object);
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        simple::secret(object, errors);
    }

    fn validate_change(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        simple::immutable_field(old, new, "type", errors);
        simple::immutable_once_set(old, new, &["data"], errors);
    }

    fn holds_secrets(&self, _subresource: &str) -> bool {
        true
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::SECRET,
            cells: table::plain::secret,
        }
    }
}

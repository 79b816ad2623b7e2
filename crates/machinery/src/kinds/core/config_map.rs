//! `ConfigMap`.

use serde_json::Value;

use crate::{
    Kind, Strategy,
    kinds::{kind, names},
    table::{self, Printer},
    validation::{ErrorList, simple},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "ConfigMap", "configmaps", "configmap",
    storage: "configmaps".into(), short_names: names!["cm"], strategy: Box::new(ConfigMapStrategy))
}

#[derive(Debug)]
struct ConfigMapStrategy;

impl Strategy for ConfigMapStrategy {
    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        simple::config_map(object, errors);
    }

    fn validate_change(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        simple::immutable_once_set(old, new, &["data", "binaryData"], errors);
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::CONFIG_MAP,
            cells: table::plain::config_map,
        }
    }
}

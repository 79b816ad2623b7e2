//! `ConfigMap`.

use serde_json::Value;

use crate::{
    Kind, Strategy,
    kinds::{kind, names},
    table::{self, Clock, Column},
    validation::{ErrorList, meta, simple},
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

    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        meta::validate_update(old, new, errors);
        simple::immutable_once_set(old, new, &["data", "binaryData"], errors);
        self.validate(kind, new, errors);
    }

    fn columns(&self) -> &'static [Column] {
        table::CONFIG_MAP
    }

    fn cells(&self, object: &Value, clock: Clock) -> Vec<Value> {
        table::plain::config_map(object, clock)
    }
}

//! `PriorityClass`.

use serde_json::Value;

use crate::{
    Kind, Scope, Strategy, defaults,
    kinds::{kind, names},
    table::{self, Printer},
    validation::{ErrorList, meta, priority_class},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "scheduling", "PriorityClass", "priorityclasses", "priorityclass",
        group: "scheduling.k8s.io".into(),
        storage: "scheduling.k8s.io/priorityclasses".into(),
        scope: Scope::Cluster,
        short_names: names!["pc"],
        strategy: Box::new(PriorityClassStrategy),
    )
}

#[derive(Debug)]
struct PriorityClassStrategy;

impl Strategy for PriorityClassStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::simple::priority_class(object);
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// It is set to 1 once.
    fn changes_generation(&self, _old: &Value, _new: &Value) -> bool {
        false
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        priority_class::validate(object, errors);
    }

    fn validate_update(
        &self,
        _kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        meta::validate_update(old, new, errors);
        priority_class::update(old, new, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::PRIORITY_CLASS,
            cells: table::plain::priority_class,
        }
    }
}

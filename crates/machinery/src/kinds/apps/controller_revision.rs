//! `ControllerRevision`.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::kind,
    table::{self, Clock, Column},
    validation::{ErrorList, meta, simple},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "apps", "ControllerRevision", "controllerrevisions", "controllerrevision",
        group: "apps".into(),
        storage: "apps/controllerrevisions".into(),
        strategy: Box::new(ControllerRevisionStrategy),
    )
}

#[derive(Debug)]
struct ControllerRevisionStrategy;

impl Strategy for ControllerRevisionStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::set(object, "revision", 0);
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        simple::revision(object, errors);
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
        simple::immutable_field(old, new, "data", errors);
        self.validate(kind, new, errors);
    }

    fn columns(&self) -> &'static [Column] {
        table::CONTROLLER_REVISION
    }

    fn cells(&self, object: &Value, clock: Clock) -> Vec<Value> {
        table::workload::revision(object, clock)
    }
}

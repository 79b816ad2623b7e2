//! `ControllerRevision`.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::kind,
    table::{self, Printer},
    validation::{ErrorList, simple},
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

    fn validate_change(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        simple::immutable_field(old, new, "data", errors);
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::CONTROLLER_REVISION,
            cells: table::workload::revision,
        }
    }
}

//! `Event` of the core group. `events.k8s.io` serves the same objects under other names of fields;
//! they are stored in this form.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::{kind, names},
    selectable_fields,
    table::{self, Printer},
    validation::{self, ErrorList},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "Event", "events", "event",
        storage: "events".into(),
        short_names: names!["ev"],
        selectable_fields: names![
            "involvedObject.apiVersion",
            "involvedObject.fieldPath",
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.resourceVersion",
            "involvedObject.uid",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        strategy: Box::new(EventStrategy),
    )
}

#[derive(Debug)]
struct EventStrategy;

impl Strategy for EventStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::simple::event(object);
    }

    fn validate(&self, _kind: &Kind, object: &Value, errors: &mut ErrorList) {
        validation::event::legacy(object, errors);
    }

    fn validate_update(
        &self,
        _kind: &Kind,
        _subresource: &str,
        _old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        validation::event::legacy(new, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::EVENT,
            cells: table::event::cells,
        }
    }

    fn selectable_value(&self, object: &Value, field: &str) -> String {
        selectable_fields::event(object, field)
    }
}

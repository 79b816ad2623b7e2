//! `Event` of `events.k8s.io`: the events of the core group under other names of fields.

use serde_json::Value;

use crate::{
    Kind, Strategy, event_conversion,
    kinds::{kind, names},
    selectable_fields,
    table::{self, Printer},
    validation::{self, ErrorList},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("events", "Event", "events", "event",
        group: "events.k8s.io".into(),
        storage: "events".into(),
        short_names: names!["ev"],
        selectable_fields: names![
            "reason",
            "regarding.apiVersion",
            "regarding.fieldPath",
            "regarding.kind",
            "regarding.name",
            "regarding.namespace",
            "regarding.resourceVersion",
            "regarding.uid",
            "reportingController",
            "type",
        ],
        strategy: Box::new(EventStrategy),
    )
}

#[derive(Debug)]
struct EventStrategy;

impl Strategy for EventStrategy {
    fn validate(&self, _kind: &Kind, object: &Value, errors: &mut ErrorList) {
        validation::event::legacy(object, errors);
        validation::event::create(object, errors);
    }

    fn validate_update(
        &self,
        _kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        validation::event::legacy(new, errors);
        validation::event::update(old, new, errors);
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

    fn is_stored_converted(&self) -> bool {
        true
    }

    fn to_stored(&self, object: &mut Value) {
        event_conversion::to_core_v1(object);
    }

    fn convert_stored(&self, object: &mut Value) {
        event_conversion::to_events_v1(object);
    }
}

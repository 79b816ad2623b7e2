//! `EndpointSlice`. It has neither spec nor status.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::kind,
    table::{self, Printer},
    validation::{ErrorList, network, simple},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "discovery", "EndpointSlice", "endpointslices", "endpointslice",
        group: "discovery.k8s.io".into(),
        storage: "discovery.k8s.io/endpointslices".into(),
        strategy: Box::new(EndpointSliceStrategy),
    )
}

#[derive(Debug)]
struct EndpointSliceStrategy;

impl Strategy for EndpointSliceStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::service::endpoint_slice(object);
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn changes_generation(&self, old: &Value, new: &Value) -> bool {
        ["addressType", "endpoints", "ports"]
            .iter()
            .any(|name| old[name] != new[name])
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        network::endpoint_slice(object, errors);
    }

    fn validate_change(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        simple::immutable_field(old, new, "addressType", errors);
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::ENDPOINT_SLICE,
            cells: table::network::endpoint_slice,
        }
    }
}

//! `EndpointSlice`. It has neither spec nor status.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::kind,
    table::{self, Clock, Column},
    validation::{ErrorList, meta, network, simple},
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

    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        meta::validate_update(old, new, errors);
        simple::immutable_field(old, new, "addressType", errors);
        self.validate(kind, new, errors);
    }

    fn columns(&self) -> &'static [Column] {
        table::ENDPOINT_SLICE
    }

    fn cells(&self, object: &Value, clock: Clock) -> Vec<Value> {
        table::network::endpoint_slice(object, clock)
    }
}

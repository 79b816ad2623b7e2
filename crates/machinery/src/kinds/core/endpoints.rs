//! `Endpoints`.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::{kind, names},
    table::{self, Printer},
    validation::{ErrorList, network},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "Endpoints", "endpoints", "endpoints",
    storage: "endpoints".into(), short_names: names!["ep"], strategy: Box::new(EndpointsStrategy))
}

#[derive(Debug)]
struct EndpointsStrategy;

impl Strategy for EndpointsStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::service::endpoints(object);
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        network::endpoints(object, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::ENDPOINTS,
            cells: table::network::endpoints,
        }
    }
}

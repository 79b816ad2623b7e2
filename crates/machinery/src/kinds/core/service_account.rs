//! `ServiceAccount`.

use crate::{
    Kind, Strategy,
    kinds::{kind, names, sub_of},
    table::{self, Printer},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "ServiceAccount", "serviceaccounts", "serviceaccount",
        storage: "serviceaccounts".into(),
        short_names: names!["sa"],
        subresources: vec![sub_of("authentication.k8s.io", "token", "TokenRequest", &["create"])],
        strategy: Box::new(ServiceAccountStrategy),
    )
}

#[derive(Debug)]
struct ServiceAccountStrategy;

impl Strategy for ServiceAccountStrategy {
    fn returns_deleted_object(&self) -> bool {
        true
    }

    fn holds_secrets(&self, subresource: &str) -> bool {
        subresource == "token"
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::SERVICE_ACCOUNT,
            cells: table::plain::service_account,
        }
    }
}

//! `ServiceAccount`.

use serde_json::Value;

use crate::{
    Kind, Strategy,
    kind::Subresource,
    kinds::{CREATE, kind},
    table::{self, Clock, Column},
};

pub(in crate::kinds) static KIND: Kind = kind!("core", "ServiceAccount", "serviceaccounts", "serviceaccount",
    storage: "serviceaccounts",
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token", group: "authentication.k8s.io", version: "v1", kind: "TokenRequest", verbs: CREATE,
    }],
    strategy: &ServiceAccountStrategy,
);

#[derive(Debug)]
struct ServiceAccountStrategy;

impl Strategy for ServiceAccountStrategy {
    fn returns_deleted_object(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        table::SERVICE_ACCOUNT
    }

    fn cells(&self, object: &Value, clock: Clock) -> Vec<Value> {
        table::plain::service_account(object, clock)
    }
}

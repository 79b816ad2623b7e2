//! Discovery: `/api`, `/apis` (plain and aggregated), `/apis/GROUP`, `/apis/GROUP/VERSION`.
use serde_json::Value;

/// `/api`: `APIVersions`.
#[must_use]
pub fn api_versions(_server_address: &str) -> Value {
    todo!()
}

/// `/apis`: `APIGroupList`.
#[must_use]
pub fn api_groups() -> Value {
    todo!()
}

/// `/apis/GROUP`: `APIGroup`.
#[must_use]
pub fn api_group(_group: &str) -> Option<Value> {
    todo!()
}

/// `/api/v1`, `/apis/GROUP/VERSION`: `APIResourceList`.
#[must_use]
pub fn resource_list(_group: &str, _version: &str) -> Option<Value> {
    todo!()
}

/// `APIGroupDiscoveryList` (`apidiscovery.k8s.io/v2` or `v2beta1`) of `/api` (core) or `/apis`.
#[must_use]
pub fn aggregated(_core: bool, _version: &str) -> Value {
    todo!()
}

//! OpenAPI v3 documents, one per group version, stored compressed.
use std::borrow::Cow;

/// `/openapi/v3`: the index.
#[must_use]
pub fn index() -> serde_json::Value {
    todo!()
}

/// The document of `apis/apps/v1` or `api/v1`, gzipped, with its hash.
#[must_use]
pub fn document_gzip(_path: &str) -> Option<(Cow<'static, [u8]>, String)> {
    todo!()
}

//! The two versions of OpenAPI documents, and how each refers to schemas.

use serde_json::{Map, Value, json};

/// The version of a document. Both have the same content in different structures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Swagger 2.0: one document.
    V2,
    /// OpenAPI 3.0: a document for each group version.
    V3,
}

impl Version {
    /// The place of the schemas in a document: a JSON pointer.
    pub(super) const fn schemas(self) -> &'static str {
        match self {
            Self::V2 => "/definitions",
            Self::V3 => "/components/schemas",
        }
    }

    /// A reference to a schema of the document.
    #[must_use]
    pub fn reference(self, name: &str) -> Value {
        json!({"$ref": format!("#{}/{name}", self.schemas())})
    }

    /// The name of the schema that a reference points to.
    pub(super) fn referred(self, target: &str) -> Option<&str> {
        let path = target.strip_prefix('#')?.strip_prefix(self.schemas())?;
        path.strip_prefix('/')
    }

    /// A reference with other keywords, such as a description. Version 3 ignores keywords beside a
    /// reference, so the reference is wrapped in `allOf`.
    #[must_use]
    pub fn reference_with(self, name: &str, mut keywords: Map<String, Value>) -> Value {
        let target = self.reference(name);
        match self {
            Self::V2 => keywords.insert("$ref".into(), target["$ref"].clone()),
            Self::V3 => keywords.insert("allOf".into(), json!([target])),
        };
        keywords.into()
    }
}

/// The path of a group version below `/openapi/v3/`, such as `apis/apps/v1`.
#[must_use]
pub fn place(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

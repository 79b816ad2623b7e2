//! Defaults of bindings (`pkg/apis/rbac/v1/defaults.go`).

use serde_json::Value;

use super::{child, set_text};
use crate::json_fields::{ReadFields, WriteFields};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Sets the API groups of the role and of the subjects that are no service accounts.
pub(crate) fn binding(object: &mut Value) {
    set_text(child(object, "roleRef"), "apiGroup", GROUP);
    for subject in object.items_mut("subjects") {
        if matches!(subject.text("kind"), "User" | "Group") {
            set_text(subject, "apiGroup", GROUP);
        }
    }
}

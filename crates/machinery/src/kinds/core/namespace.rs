//! `Namespace`. Its finalizers are in its spec; only `finalize` changes them.

use serde_json::{Value, json};

use crate::{
    Kind, Scope, Strategy, defaults,
    json_fields::{ReadFields, WriteFields},
    kinds::{READ_WRITE, kind, names, sub},
    table::{self, Printer},
    validation::{ErrorList, meta, names, simple},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "Namespace", "namespaces", "namespace",
        storage: "namespaces".into(),
        scope: Scope::Cluster,
        short_names: names!["ns"],
        verbs: names!["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: vec![sub("finalize", "Namespace", &["update"]), sub("status", "Namespace", READ_WRITE)],
        selectable_fields: names!["status.phase"],
        strategy: Box::new(NamespaceStrategy),
    )
}

/// The finalizer of the controller that removes the objects of a namespace.
const FINALIZER: &str = "kubernetes";

#[derive(Debug)]
struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::simple::namespace(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({ "phase": "Active" });
        let finalizers = object["spec"].items("finalizers").to_vec();
        if !finalizers.iter().any(|name| name == FINALIZER) {
            let all = [finalizers, vec![FINALIZER.into()]].concat();
            object.member("spec").put("finalizers", all);
        }
    }

    fn prepare_for_update(&self, old: &Value, new: &mut Value) {
        let finalizers = old["spec"]["finalizers"].clone();
        new["spec"] = json!({});
        new["spec"].put("finalizers", finalizers);
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        simple::namespace(object, errors);
    }

    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        self.validate(kind, new, errors);
        meta::validate_update(old, new, errors);
    }

    fn validate_status_update(&self, _old: &Value, new: &Value, errors: &mut ErrorList) {
        simple::namespace_status(new, errors);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::label(name)
    }

    fn has_more_finalizers(&self, object: &Value) -> bool {
        !object["spec"].items("finalizers").is_empty()
    }

    fn deletion_begins(&self, object: &mut Value) {
        object.member("status").put("phase", "Terminating");
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::NAMESPACE,
            cells: table::plain::namespace,
        }
    }

    fn selectable_alias<'a>(&self, field: &'a str) -> &'a str {
        match field {
            "name" => "metadata.name",
            other => other,
        }
    }
}

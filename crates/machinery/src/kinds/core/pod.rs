//! `Pod`.

use serde_json::{Value, json};

use crate::{
    Kind, Strategy, defaults,
    json_fields::{ReadFields, WriteFields},
    kind::{GracePeriod, IndexedField, ResetFields},
    kinds::{READ_WRITE, kind, names, sub, sub_of},
    selectable_fields::text::text_of,
    strategy::qos_class,
    table::{self, Printer},
    validation::{self, ErrorList},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "Pod", "pods", "pod",
        storage: "pods".into(),
        short_names: names!["po"],
        categories: names!["all"],
        subresources: vec![
            sub("attach", "PodAttachOptions", &["create", "get"]),
            sub("binding", "Binding", &["create"]),
            sub("ephemeralcontainers", "Pod", READ_WRITE),
            sub_of("policy", "eviction", "Eviction", &["create"]),
            sub("exec", "PodExecOptions", &["create", "get"]),
            sub("log", "Pod", &["get"]),
            sub("portforward", "PodPortForwardOptions", &["create", "get"]),
            sub("status", "Pod", READ_WRITE),
        ],
        selectable_fields: names![
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
            "status.podIPs",
        ],
        strategy: Box::new(PodStrategy),
    )
}

/// The grace period of a pod that does not set one, in seconds.
const GRACE_SECONDS: i64 = 30;

#[derive(Debug)]
struct PodStrategy;

impl Strategy for PodStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::pod::pod(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({ "phase": "Pending", "qosClass": qos_class(&object["spec"]) });
    }

    fn prepare_for_status_update(&self, old: &Value, new: &mut Value) {
        let owners = old["metadata"]["ownerReferences"].clone();
        let metadata = new.member("metadata");
        metadata.put("ownerReferences", owners);
        let deleted = old["metadata"]["deletionTimestamp"].clone();
        metadata.put("deletionTimestamp", deleted);
        let status = new.member("status");
        if !status.has("qosClass") {
            status.put("qosClass", old["status"]["qosClass"].clone());
        }
    }

    fn reset_fields(&self, _kind: &Kind, subresource: &str) -> ResetFields {
        let (top_level, metadata): (&[&str], &[&str]) = match subresource {
            "" => (&["status"], &[]),
            "status" => (&["spec"], &["deletionTimestamp", "ownerReferences"]),
            "ephemeralcontainers" => (
                &["status"],
                &["annotations", "finalizers", "labels", "ownerReferences"],
            ),
            _ => (&[], &[]),
        };
        ResetFields {
            top_level,
            metadata,
        }
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        validation::pod::create(object, errors);
    }

    fn validate_update(
        &self,
        kind: &Kind,
        subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        validation::pod_update::validate(kind, subresource, old, new, errors);
    }

    fn validate_status_update(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        validation::pod_status::update(old, new, errors);
    }

    fn warnings_on_create(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings::pod(object)
    }

    /// The agent gets time to stop the containers, if there is one that has to.
    fn grace_period(&self, object: &Value, requested: Option<i64>) -> GracePeriod {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        if metadata.has("deletionTimestamp") {
            let left = metadata["deletionGracePeriodSeconds"].as_i64();
            let Some(left) = left else {
                return GracePeriod::None;
            };
            return match requested {
                Some(requested) if requested < left => GracePeriod::Seconds(requested),
                _ => GracePeriod::Unchanged,
            };
        }
        let has_ended = matches!(object["status"].text("phase"), "Failed" | "Succeeded");
        if spec.text("nodeName").is_empty() || has_ended {
            return GracePeriod::Seconds(0);
        }
        let own = spec["terminationGracePeriodSeconds"].as_i64();
        GracePeriod::Seconds(requested.or(own).unwrap_or(GRACE_SECONDS).max(0))
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::POD,
            cells: table::pod::cells,
        }
    }

    fn row_conditions(&self, object: &Value) -> Option<Value> {
        table::pod::row_conditions(object)
    }

    fn selectable_alias<'a>(&self, field: &'a str) -> &'a str {
        match field {
            "spec.host" => "spec.nodeName",
            other => other,
        }
    }

    fn selectable_value(&self, object: &Value, field: &str) -> String {
        match field {
            "status.podIPs" => {
                let ips = object["status"].items("podIPs").iter();
                ips.map(|entry| entry.text("ip"))
                    .collect::<Vec<_>>()
                    .join(",")
            }
            _ => text_of(object, field),
        }
    }

    fn indexed_field(&self) -> Option<IndexedField> {
        Some(IndexedField {
            path: "spec.nodeName",
            part: "spec",
            name: "nodeName",
        })
    }

    fn spec_read_by_status_writes(&self) -> Option<&'static [&'static str]> {
        Some(&[
            "nodeName",
            "restartPolicy",
            "initContainers",
            "terminationGracePeriodSeconds",
        ])
    }
}

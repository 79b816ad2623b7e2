//! `Service`.

mod allocated;

use serde_json::{Value, json};

use crate::{
    Kind, Strategy, defaults,
    json_fields::ReadFields,
    kinds::{READ_WRITE, kind, names, sub},
    table::{self, Printer},
    validation::{self, ErrorList, meta},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "Service", "services", "service",
        storage: "services".into(),
        short_names: names!["svc"],
        categories: names!["all"],
        subresources: vec![sub("status", "Service", READ_WRITE)],
        selectable_fields: names!["spec.clusterIP", "spec.type"],
        strategy: Box::new(ServiceStrategy),
    )
}

#[derive(Debug)]
struct ServiceStrategy;

impl Strategy for ServiceStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::service::service(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({ "loadBalancer": {} });
        let ip = object["spec"].text("clusterIP").to_owned();
        if !ip.is_empty() && object["spec"].items("clusterIPs").is_empty() {
            object["spec"]["clusterIPs"] = json!([ip]);
        }
    }

    fn prepare_for_update(&self, old: &Value, new: &mut Value) {
        allocated::update(old, new);
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        validation::service::validate(object, errors);
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
        validation::service_update::validate(old, new, errors);
        self.validate(kind, new, errors);
    }

    fn validate_status_update(&self, _old: &Value, new: &Value, errors: &mut ErrorList) {
        validation::service_update::status(new, errors);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        validation::names::label_1035(name)
    }

    /// Each gets an address of the cluster, and node ports.
    fn is_written_one_by_one(&self) -> bool {
        true
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::SERVICE,
            cells: table::network::service,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ServiceStrategy, Strategy as _};

    #[test]
    fn an_update_keeps_allocated_addresses_and_node_ports() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "nodePort": 30000}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 81}]}});
        ServiceStrategy.prepare_for_update(&old, &mut new);
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.9"]));
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30000);
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        ServiceStrategy.prepare_for_update(&old, &mut new);
        assert_eq!(new["spec"]["ports"], json!([{"port": 80}]));
        assert_eq!(new["spec"].get("externalTrafficPolicy"), None);
    }
}

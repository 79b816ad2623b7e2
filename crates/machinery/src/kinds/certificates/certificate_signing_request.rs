//! `CertificateSigningRequest`. Who asks is set by the server: `spec.username` and what follows.

use serde_json::{Value, json};

use crate::{
    Kind, Scope, Strategy,
    json_fields::{ReadFields, WriteFields},
    kind::ResetFields,
    kinds::{READ_WRITE, kind, names, sub_of},
    table::{self, Printer},
    validation::{ErrorList, certificate_signing_request as rules, meta},
};

const GROUP: &str = "certificates.k8s.io";

pub(in crate::kinds) fn kind() -> Kind {
    let sub = |name| sub_of(GROUP, name, "CertificateSigningRequest", READ_WRITE);
    kind!(
        "certificates", "CertificateSigningRequest", "certificatesigningrequests", "certificatesigningrequest",
        group: GROUP.into(),
        storage: "certificates.k8s.io/certificatesigningrequests".into(),
        scope: Scope::Cluster,
        short_names: names!["csr"],
        subresources: vec![sub("approval"), sub("status")],
        selectable_fields: names!["spec.signerName"],
        strategy: Box::new(CertificateSigningRequestStrategy),
    )
}

#[derive(Debug)]
struct CertificateSigningRequestStrategy;

impl Strategy for CertificateSigningRequestStrategy {
    fn prepare_for_create(&self, object: &mut Value) {
        object.put("status", json!({}));
    }

    fn prepare_for_update(&self, old: &Value, new: &mut Value) {
        new.put("spec", old["spec"].clone());
    }

    /// Whether the request is approved is not the signer's to say.
    fn prepare_for_status_update(&self, old: &Value, new: &mut Value) {
        for of_type in ["Approved", "Denied"] {
            let old: Vec<&Value> = of(&old["status"], of_type).collect();
            if old.len() != of(&new["status"], of_type).count() {
                continue;
            }
            let mut old = old.into_iter();
            let conditions = new["status"]["conditions"].as_array_mut();
            for condition in conditions.into_iter().flatten() {
                if condition.text("type") == of_type
                    && let Some(old) = old.next()
                {
                    *condition = old.clone();
                }
            }
        }
    }

    fn reset_fields(&self, _kind: &Kind, subresource: &str) -> ResetFields {
        ResetFields {
            top_level: match subresource {
                "" => &["spec", "status"],
                _ => &["spec"],
            },
            metadata: &[],
        }
    }

    /// Any name that fits into a path.
    fn validate_name(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        rules::validate(None, object, errors);
    }

    fn validate_update(
        &self,
        kind: &Kind,
        subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        kind.validate_metadata(new, errors);
        rules::validate(Some(old), new, errors);
        meta::validate_update(old, new, errors);
        rules::validate_update(subresource, old, new, errors);
    }

    fn validate_status_update(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        rules::validate(Some(old), new, errors);
        rules::validate_update("status", old, new, errors);
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::CERTIFICATE_SIGNING_REQUEST,
            cells: table::plain::certificate_signing_request,
        }
    }
}

fn of<'a>(status: &'a Value, of_type: &'a str) -> impl Iterator<Item = &'a Value> {
    let conditions = status.items("conditions").iter();
    conditions.filter(move |condition| condition.text("type") == of_type)
}

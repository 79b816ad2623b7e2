//! `CertificateSigningRequest` (upstream's `pkg/apis/certificates/validation`).

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pandaemon_certificates::{request, signers::LEGACY_UNKNOWN};
use serde_json::Value;
use x509_parser::{
    pem::Pem,
    prelude::{FromDer as _, X509Certificate},
};

use super::{
    error_list::{ErrorList, GoValue, Path},
    names,
};
use crate::json_fields::ReadFields;

/// The shortest life that may be asked for.
const LEAST_SECONDS: i64 = 600;
/// The longest part of a name of a signer before the slash, and after it: a subdomain, and one with
/// a label before it.
const MAX_DOMAIN: usize = 253;
const MAX_SIGNER: usize = MAX_DOMAIN + 1 + 253 + 63 + 1;

/// The known usages, sorted.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

const SPEC: Path<'static> = Path::root("spec");
const STATUS: Path<'static> = Path::root("status");

/// Conditions that are true or not there.
const TRUE_ONLY: [&str; 3] = ["Approved", "Denied", "Failed"];

/// Validates a request; the metadata is validated already. What is wrong in the old object, too, is
/// tolerated.
pub(crate) fn validate(old: Option<&Value>, object: &Value, errors: &mut ErrorList) {
    let spec = &object["spec"];
    let pem = STANDARD.decode(spec.text("request")).unwrap_or_default();
    if let Err(why) = request::parse(&pem) {
        let value = go_bytes(&pem);
        errors.invalid(&SPEC.child("request"), value, &why.to_string());
    }
    let old_spec = old.map_or(&Value::Null, |old| &old["spec"]);
    usages(old_spec, spec, errors);
    let signer = spec.text("signerName");
    if signer == LEGACY_UNKNOWN && old_spec.text("signerName") != LEGACY_UNKNOWN {
        let why = "the legacy signerName is not allowed via this API version";
        errors.invalid(&SPEC.child("signerName"), signer, why);
    } else {
        signer_name(signer, errors);
    }
    if spec.has("expirationSeconds") && spec.int("expirationSeconds") < LEAST_SECONDS {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        let seconds = GoValue::formatted(spec.int("expirationSeconds").to_string());
        errors.invalid(&SPEC.child("expirationSeconds"), seconds, why);
    }
    let old_status = old.map_or(&Value::Null, |old| &old["status"]);
    conditions(old_status, &object["status"], errors);
    let (old, new) = (certificate(old_status), certificate(&object["status"]));
    let is_tolerated = old == new || check_certificate(old).is_err();
    if let Err(why) = check_certificate(new).map_err(|why| why.to_string())
        && !is_tolerated
    {
        errors.invalid(&STATUS.child("certificate"), "<certificate data>", &why);
    }
}

/// Validates what a write may change; `subresource` is empty for the object itself.
pub(crate) fn validate_update(subresource: &str, old: &Value, new: &Value, errors: &mut ErrorList) {
    let (old, new) = (&old["status"], &new["status"]);
    for of_type in TRUE_ONLY {
        if of(new, of_type).len() < of(old, of_type).len() {
            let why = format!("updates may not remove a condition of type {of_type:?}");
            errors.forbidden(&STATUS.child("conditions"), &why);
        }
    }
    if subresource != "approval" {
        for of_type in ["Approved", "Denied"] {
            let (old, new) = (of(old, of_type), of(new, of_type));
            let verb = match new.len().cmp(&old.len()) {
                std::cmp::Ordering::Greater => "add",
                std::cmp::Ordering::Equal if old != new => "modify",
                _ => continue,
            };
            let why = format!("updates may not {verb} a condition of type {of_type:?}");
            errors.forbidden(&STATUS.child("conditions"), &why);
        }
    }
    if certificate(old) != certificate(new) {
        let why = match (subresource, certificate(old)) {
            ("status", "") => return,
            ("status", _) => "updates may not modify existing certificate content",
            _ => "updates may not set certificate content",
        };
        errors.forbidden(&STATUS.child("certificate"), why);
    }
}

fn usages(old: &Value, spec: &Value, errors: &mut ErrorList) {
    fn texts(spec: &Value) -> Vec<&str> {
        let items = spec.items("usages").iter();
        items.filter_map(Value::as_str).collect()
    }
    fn repeats(all: &[&str]) -> bool {
        all.iter().collect::<BTreeSet<_>>().len() < all.len()
    }
    let is_unknown = |usage: &&str| !USAGES.contains(usage);
    let (old, new) = (texts(old), texts(spec));
    let path = SPEC.child("usages");
    if new.is_empty() {
        errors.required(&path, "");
    }
    if !old.iter().any(is_unknown) {
        for (at, usage) in new
            .iter()
            .enumerate()
            .filter(|(_, usage)| is_unknown(usage))
        {
            errors.not_supported(&path.index(at), *usage, &USAGES);
        }
    }
    if !repeats(&old) {
        let mut seen = BTreeSet::new();
        for (at, usage) in new.iter().enumerate() {
            if !seen.insert(usage) {
                errors.duplicate(&path.index(at), *usage);
            }
        }
    }
}

/// Upstream: `apivalidation.ValidateSignerName`.
fn signer_name(name: &str, errors: &mut ErrorList) {
    let path = SPEC.child("signerName");
    if name.is_empty() {
        errors.required(&path, "");
    }
    let parts: Vec<&str> = name.split('/').collect();
    let [domain, rest] = parts.as_slice() else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(&path, name, why);
    };
    if domain.len() > MAX_DOMAIN {
        errors.too_long(&path, MAX_DOMAIN);
    }
    check_labels(domain, names::label, errors);
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.invalid(&path, *domain, why);
    }
    check_labels(rest, names::subdomain, errors);
    if name.len() > MAX_SIGNER {
        errors.too_long(&path, MAX_SIGNER);
    }
}

/// Checks each part between the dots, up to the first that is wrong.
fn check_labels(text: &str, rule: fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    let mut labels = text.split('.').map(|label| (label, rule(label)));
    let wrong = labels.find(|(_, faults)| !faults.is_empty());
    if let Some((label, faults)) = wrong {
        for fault in faults {
            let why = format!("validating label {label:?}: {fault}");
            errors.invalid(&SPEC.child("signerName"), text, &why);
        }
    }
}

fn conditions(old: &Value, status: &Value, errors: &mut ErrorList) {
    let types = |status: &Value| -> Vec<String> {
        let conditions = status.items("conditions").iter();
        conditions.map(|one| one.text("type").to_owned()).collect()
    };
    let old = types(old);
    let has = |of_type: &str| old.iter().any(|known| known == of_type);
    let tolerates_both = has("Approved") && has("Denied");
    let tolerates_repeats = old.iter().collect::<BTreeSet<_>>().len() < old.len();
    let mut seen = BTreeSet::new();
    let path = STATUS.child("conditions");
    for (at, condition) in status.items("conditions").iter().enumerate() {
        let (of_type, path) = (condition.text("type"), path.index(at));
        if of_type.is_empty() && !has("") {
            errors.required(&path.child("type"), "");
        }
        let allowed: &[&str] = match TRUE_ONLY.contains(&of_type) {
            true => &["True"],
            false => &["False", "True", "Unknown"],
        };
        errors.required_one_of(&path.child("status"), condition.text("status"), allowed);
        let other = match of_type {
            "Approved" => "Denied",
            _ => "Approved",
        };
        if matches!(of_type, "Approved" | "Denied") && seen.contains(other) && !tolerates_both {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.invalid(&path.child("type"), of_type, why);
        }
        if !seen.insert(of_type) && !tolerates_repeats {
            errors.duplicate(&path.child("type"), of_type);
        }
    }
}

/// The conditions of a type.
fn of<'a>(status: &'a Value, of_type: &str) -> Vec<&'a Value> {
    let conditions = status.items("conditions").iter();
    conditions
        .filter(|condition| condition.text("type") == of_type)
        .collect()
}

/// The certificate, as in the JSON.
fn certificate(status: &Value) -> &str {
    status.text("certificate")
}

/// Whether this is nothing, or blocks of certificates in PEM.
fn check_certificate(encoded: &str) -> Result<(), &'static str> {
    if encoded.is_empty() {
        return Ok(());
    }
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(&pem) {
        let Ok(block) = block else { break };
        if block.label != "CERTIFICATE" {
            return Err("only CERTIFICATE PEM blocks are allowed");
        }
        if !X509Certificate::from_der(&block.contents).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Err("x509: malformed certificate");
        }
        blocks += 1;
    }
    match blocks {
        0 => Err("must contain at least one CERTIFICATE PEM block"),
        _ => Ok(()),
    }
}

/// Bytes as Go prints them with `%#v`.
fn go_bytes(bytes: &[u8]) -> GoValue {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#x}")).collect();
    GoValue::formatted(format!("[]byte{{{}}}", bytes.join(", ")))
}

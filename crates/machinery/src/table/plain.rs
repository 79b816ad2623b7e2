//! Rows of kinds with few columns.

use serde_json::Value;

use super::{
    age::human_duration,
    cells::{Clock, name},
    or_none,
};
use crate::json_fields::ReadFields;

pub(crate) fn namespace(object: &Value, clock: Clock) -> Vec<Value> {
    vec![
        name(object),
        object["status"].text("phase").into(),
        clock.age(object),
    ]
}

pub(crate) fn config_map(object: &Value, clock: Clock) -> Vec<Value> {
    let count = size(object, "data") + size(object, "binaryData");
    vec![name(object), count.into(), clock.age(object)]
}

pub(crate) fn secret(object: &Value, clock: Clock) -> Vec<Value> {
    let count = size(object, "data");
    vec![
        name(object),
        object.text("type").into(),
        count.into(),
        clock.age(object),
    ]
}

pub(crate) fn service_account(object: &Value, clock: Clock) -> Vec<Value> {
    vec![
        name(object),
        object.items("secrets").len().into(),
        clock.age(object),
    ]
}

pub(crate) fn lease(object: &Value, clock: Clock) -> Vec<Value> {
    vec![
        name(object),
        object["spec"].text("holderIdentity").into(),
        clock.age(object),
    ]
}

pub(crate) fn priority_class(object: &Value, clock: Clock) -> Vec<Value> {
    vec![
        name(object),
        object.int("value").into(),
        object.flag("globalDefault").into(),
        clock.age(object),
        object.text("preemptionPolicy").into(),
    ]
}

/// Upstream: `printFlowSchema`.
pub(crate) fn flow_schema(object: &Value, clock: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let method = spec.field("distinguisherMethod");
    let mut conditions = object["status"].items("conditions").iter();
    let dangling = conditions.find(|condition| condition.text("type") == "Dangling");
    vec![
        name(object),
        spec["priorityLevelConfiguration"].text("name").into(),
        spec.int("matchingPrecedence").into(),
        method.map_or("<none>", |method| method.text("type")).into(),
        clock.age(object),
        dangling
            .map_or("?", |condition| condition.text("status"))
            .into(),
    ]
}

/// Upstream: `printPriorityLevelConfiguration`.
pub(crate) fn priority_level_configuration(object: &Value, clock: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let limited = spec.field("limited");
    let queuing = limited.and_then(|limited| limited["limitResponse"].field("queuing"));
    let number = |of: Option<&Value>, field: &str| match of {
        Some(of) => of.int(field).into(),
        None => Value::from("<none>"),
    };
    vec![
        name(object),
        spec.text("type").into(),
        number(limited, "nominalConcurrencyShares"),
        number(queuing, "queues"),
        number(queuing, "handSize"),
        number(queuing, "queueLengthLimit"),
        clock.age(object),
    ]
}

/// Upstream: `printCertificateSigningRequest`.
pub(crate) fn certificate_signing_request(object: &Value, clock: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let duration = match spec.has("expirationSeconds") {
        true => human_duration(spec.int("expirationSeconds")),
        false => "<none>".to_owned(),
    };
    let conditions = status.items("conditions");
    let has = |of_type: &str| conditions.iter().any(|one| one.text("type") == of_type);
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !status.text("certificate").is_empty() {
        state.push_str(",Issued");
    }
    vec![
        name(object),
        clock.age(object),
        or_none(spec.text("signerName")).into(),
        spec.text("username").into(),
        duration.into(),
        state.into(),
    ]
}

/// `RoleBinding` and `ClusterRoleBinding`.
pub(crate) fn binding(object: &Value, clock: Clock) -> Vec<Value> {
    let role = &object["roleRef"];
    let subjects = |kind: &str, shown: fn(&Value) -> String| {
        let of_kind = object.items("subjects").iter();
        let of_kind = of_kind.filter(|subject| subject.text("kind") == kind);
        Value::from(of_kind.map(shown).collect::<Vec<_>>().join(", "))
    };
    let subject_name = |subject: &Value| subject.text("name").to_owned();
    vec![
        name(object),
        format!("{}/{}", role.text("kind"), role.text("name")).into(),
        clock.age(object),
        subjects("User", subject_name),
        subjects("Group", subject_name),
        subjects("ServiceAccount", |account| {
            format!("{}/{}", account.text("namespace"), account.text("name"))
        }),
    ]
}

fn size(object: &Value, field: &str) -> usize {
    object.entries(field).map_or(0, serde_json::Map::len)
}

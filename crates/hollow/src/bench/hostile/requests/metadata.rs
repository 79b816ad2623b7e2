//! Requests with too much metadata.

use super::{Call, MAP, MAPS, Plan, list};

fn map(metadata: &str) -> Plan {
    let body = format!(r#"{{"metadata":{{"name":"hostile",{metadata}}},"data":{{"a":"b"}}}}"#);
    Plan::of(Call::post(MAPS, body)).creates(MAP)
}

pub(super) fn owners() -> Plan {
    let owner = |at| {
        format!(
            r#"{{"apiVersion":"apps/v1","kind":"DaemonSet","name":"o{at}","uid":"u{at}","controller":true}}"#
        )
    };
    map(&format!(r#""ownerReferences":[{}]"#, list(20_000, owner)))
}

pub(super) fn events_as_owners() -> Plan {
    let owner =
        |at| format!(r#"{{"apiVersion":"v1","kind":"Event","name":"o{at}","uid":"u{at}"}}"#);
    map(&format!(r#""ownerReferences":[{}]"#, list(20_000, owner)))
}

pub(super) fn empty_owners() -> Plan {
    let owner = |_| r#"{"controller":true}"#.to_owned();
    map(&format!(r#""ownerReferences":[{}]"#, list(45_000, owner)))
}

pub(super) fn managed_fields_entries() -> Plan {
    let entry = |_| "{}".to_owned();
    map(&format!(r#""managedFields":[{}]"#, list(100_000, entry)))
}

fn entry(fields: &str) -> Plan {
    let entry = r#""manager":"m","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1""#;
    map(&format!(
        r#""managedFields":[{{{entry},"fieldsV1":{{{fields}}}}}]"#
    ))
}

pub(super) fn wide_fields_v1() -> Plan {
    entry(&list(220_000, |at| format!(r#""f:{at:x}":{{}}"#)))
}

pub(super) fn deep_fields_v1() -> Plan {
    entry(&format!(
        "{}{}",
        r#""f:a":{"#.repeat(10_000),
        "}".repeat(10_000)
    ))
}

pub(super) fn labels() -> Plan {
    map(&format!(
        r#""labels":{{{}}}"#,
        list(80_000, |at| format!(r#""a {at}":"b c""#))
    ))
}

pub(super) fn annotations() -> Plan {
    map(&format!(
        r#""annotations":{{{}}}"#,
        list(80_000, |at| format!(r#""a {at}":"b c""#))
    ))
}

pub(super) fn finalizers() -> Plan {
    map(&format!(
        r#""finalizers":[{}]"#,
        list(100_000, |at| format!(r#""a b/{at}""#))
    ))
}

pub(super) fn name() -> Plan {
    let body = format!(r#"{{"metadata":{{"name":"{}"}}}}"#, "A".repeat(3_000_000));
    Plan::of(Call::post(MAPS, body))
}

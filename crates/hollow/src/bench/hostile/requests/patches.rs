//! Patches that grow, compare or search more than they say.

use super::{
    APPLY_PATCH, Call, JSON_PATCH, MAP, MAPS, MERGE_PATCH, Plan, SET, SETS, STRATEGIC_PATCH, list,
    named,
};

fn of_map(content_type: &'static str, body: String) -> Plan {
    Plan::of(Call::patch(MAP, content_type, body))
        .after(Call::post(MAPS, named(r#""data":{"a":"b"}"#)))
        .creates(MAP)
}

pub(super) fn copies() -> Plan {
    let start = r#"{"op":"add","path":"/x","value":[[]]}"#;
    let copies = list(9_999, |_| {
        r#"{"op":"copy","from":"/x","path":"/x/-"}"#.to_owned()
    });
    of_map(JSON_PATCH, format!("[{start},{copies}]"))
}

pub(super) fn large_copies() -> Plan {
    let text = "x".repeat(1_000_000);
    let copies = list(9_999, |_| {
        r#"{"op":"copy","from":"/data/a","path":"/data/b"}"#.to_owned()
    });
    Plan::of(Call::patch(MAP, JSON_PATCH, format!("[{copies}]")))
        .after(Call::post(
            MAPS,
            named(&format!(r#""data":{{"a":"{text}"}}"#)),
        ))
        .creates(MAP)
}

pub(super) fn moves() -> Plan {
    let numbers = list(200_000, |_| "1".to_owned());
    let start = format!(r#"{{"op":"add","path":"/x","value":[{numbers}]}}"#);
    let moves = list(9_999, |_| {
        r#"{"op":"move","from":"/x/0","path":"/x/1"}"#.to_owned()
    });
    of_map(JSON_PATCH, format!("[{start},{moves}]"))
}

pub(super) fn tests() -> Plan {
    let text = "x".repeat(1_000_000);
    let start = format!(r#"{{"op":"add","path":"/x","value":["{text}",{{}}]}}"#);
    let tests = list(9_999, |_| {
        r#"{"op":"test","path":"/x/1","value":{}}"#.to_owned()
    });
    of_map(JSON_PATCH, format!("[{start},{tests}]"))
}

/// A DaemonSet whose container has this many variables, which begin with a letter.
fn set(letter: char, variables: usize) -> String {
    let variable = |at| format!(r#"{{"name":"{letter}{at}","value":"b"}}"#);
    let env = list(variables, variable);
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{{"name":"hostile"}},"spec":{{"selector":{{"matchLabels":{{"a":"b"}}}},"template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{{"name":"c","image":"i","env":[{env}]}}]}}}}}}}}"#
    )
}

fn of_set(variables: usize, content_type: &'static str, body: String) -> Plan {
    let path = format!("{SET}?fieldManager=hostile");
    Plan::of(Call::patch(&path, content_type, body))
        .after(Call::post(SETS, set('A', variables)))
        .creates(SET)
}

fn of_container(members: &str) -> Plan {
    let body = format!(
        r#"{{"spec":{{"template":{{"spec":{{"containers":[{{"name":"c",{members}}}]}}}}}}}}"#
    );
    of_set(5_000, STRATEGIC_PATCH, body)
}

pub(super) fn strategic_variables() -> Plan {
    let one = |at| format!(r#"{{"name":"B{at}","value":"c"}}"#);
    of_container(&format!(r#""env":[{}]"#, list(30_000, one)))
}

pub(super) fn strategic_order() -> Plan {
    let order = list(45_000, |at| format!(r#"{{"name":"B{at}"}}"#));
    of_container(&format!(
        r#""$setElementOrder/env":[{order}],"env":[{{"name":"B44999","value":"c"}}]"#
    ))
}

pub(super) fn retain_keys() -> Plan {
    let keys = list(150_000, |at| format!(r#""k{at:x}""#));
    let members = list(50_000, |at| format!(r#""k{at:x}":1"#));
    of_map(
        STRATEGIC_PATCH,
        format!(r#"{{"data":{{"$retainKeys":[{keys}],{members}}}}}"#),
    )
}

pub(super) fn delete_values() -> Plan {
    let values = list(150_000, |at| format!(r#""a.b/{at}""#));
    of_map(
        STRATEGIC_PATCH,
        format!(r#"{{"metadata":{{"$deleteFromPrimitiveList/finalizers":[{values}]}}}}"#),
    )
}

pub(super) fn merge_keys() -> Plan {
    let keys = list(200_000, |at| format!(r#""k{at:x}":"""#));
    of_map(MERGE_PATCH, format!(r#"{{"data":{{{keys}}}}}"#))
}

pub(super) fn unknown_fields() -> Plan {
    let body = format!("{{{}}}", list(200_000, |at| format!(r#""x{at:x}":1"#)));
    let path = format!("{MAP}?fieldValidation=Strict");
    let mut plan = of_map(STRATEGIC_PATCH, body);
    plan.call.path = path;
    plan
}

pub(super) fn apply_variables() -> Plan {
    let mut plan = of_set(1, APPLY_PATCH, set('B', 20_000));
    let first = format!("{SET}?fieldManager=first");
    plan.setup
        .push(Call::patch(&first, APPLY_PATCH, set('C', 10_000)));
    plan
}

pub(super) fn apply_duplicates() -> Plan {
    let body = set('B', 40_000).replace(|c: char| c.is_ascii_digit(), "");
    of_set(1, APPLY_PATCH, body)
}

/// 1,000 managers that own 40 fields each.
pub(super) fn conflicts() -> Plan {
    let data = |text: &str| list(40, |at| format!(r#""k{at}":"{text}""#));
    let fields = list(40, |at| format!(r#""f:k{at}":{{}}"#));
    let manager = |at| {
        format!(
            r#"{{"manager":"m{at}","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{{"f:data":{{{fields}}}}}}}"#
        )
    };
    let before = format!(
        r#"{{"metadata":{{"name":"hostile","managedFields":[{}]}},"data":{{{}}}}}"#,
        list(1_000, manager),
        data("a")
    );
    let body = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"hostile"}},"data":{{{}}}}}"#,
        data("b")
    );
    let path = format!("{MAP}?fieldManager=hostile");
    Plan::of(Call::patch(&path, APPLY_PATCH, body))
        .after(Call::post(MAPS, before))
        .creates(MAP)
}

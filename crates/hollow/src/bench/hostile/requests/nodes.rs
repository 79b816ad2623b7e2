//! Nodes with lists that are too long.

use super::{Call, NODE, NODES, Plan, list, named};

fn status(members: &str) -> Plan {
    let body = named(&format!(r#""status":{{{members}}}"#));
    let path = "/api/v1/nodes/hostile/status";
    Plan::of(Call::put(path, body))
        .after(Call::post(NODES, named(r#""spec":{}"#)))
        .creates(NODE)
}

pub(super) fn images() -> Plan {
    let one = |at| format!(r#"{{"names":["registry.example/image-{at}:v1"],"sizeBytes":{at}}}"#);
    status(&format!(r#""images":[{}]"#, list(20_000, one)))
}

pub(super) fn conditions() -> Plan {
    let one = |at| format!(r#"{{"type":"T{at}","status":"True"}}"#);
    status(&format!(r#""conditions":[{}]"#, list(30_000, one)))
}

pub(super) fn addresses() -> Plan {
    let one = |_| r#"{"type":"InternalIP","address":"10.0.0.1"}"#.to_owned();
    status(&format!(r#""addresses":[{}]"#, list(45_000, one)))
}

fn node(members: &str) -> Plan {
    Plan::of(Call::post(
        NODES,
        named(&format!(r#""spec":{{{members}}}"#)),
    ))
    .creates(NODE)
}

pub(super) fn taints() -> Plan {
    let one = |_| r#"{"key":"k","effect":"NoExecute"}"#.to_owned();
    node(&format!(r#""taints":[{}]"#, list(45_000, one)))
}

pub(super) fn cidrs() -> Plan {
    node(&format!(
        r#""podCIDRs":[{}]"#,
        list(100_000, |_| r#""10.0.0.0/24""#.to_owned())
    ))
}

//! Requests whose bodies cost much to parse, whatever they mean.

use super::{Call, MAP, MAPS, PODS, PROTOBUF, Plan, SECRETS, YAML, list, named};

fn map(members: &str) -> Plan {
    Plan::of(Call::post(MAPS, named(members))).creates(MAP)
}

pub(super) fn keys() -> Plan {
    map(&format!(
        r#""data":{{{}}}"#,
        list(200_000, |at| format!(r#""{at:x}":"""#))
    ))
}

pub(super) fn wrong_keys() -> Plan {
    map(&format!(
        r#""data":{{{}}}"#,
        list(200_000, |at| format!(r#""/{at:x}":"""#))
    ))
}

pub(super) fn duplicate_keys() -> Plan {
    map(&format!(
        r#""data":{{{}}}"#,
        list(200_000, |_| r#""a":"""#.to_owned())
    ))
}

fn with_unknown_fields(query: &str) -> Plan {
    let body = named(&list(200_000, |at| format!(r#""x{at:x}":1"#)));
    Plan::of(Call::post(format!("{MAPS}{query}"), body)).creates(MAP)
}

pub(super) fn unknown_fields_strict() -> Plan {
    with_unknown_fields("?fieldValidation=Strict")
}

pub(super) fn unknown_fields() -> Plan {
    with_unknown_fields("?fieldValidation=Warn")
}

pub(super) fn deep() -> Plan {
    map(&format!(
        r#""x":{}{}"#,
        "[".repeat(1_000_000),
        "]".repeat(1_000_000)
    ))
}

pub(super) fn empty_lists() -> Plan {
    map(&format!(
        r#""x":[{}]"#,
        list(1_000_000, |_| "[]".to_owned())
    ))
}

pub(super) fn small_objects() -> Plan {
    map(&format!(
        r#""x":[{}]"#,
        list(350_000, |_| r#"{"":1}"#.to_owned())
    ))
}

pub(super) fn number() -> Plan {
    map(&format!(r#""data":{{"a":{}}}"#, "9".repeat(1_000_000)))
}

pub(super) fn escapes() -> Plan {
    map(&format!(
        r#""data":{{"a":"{}"}}"#,
        r"\u0000".repeat(500_000)
    ))
}

fn yaml(body: String) -> Plan {
    Plan::of(Call::new("POST", MAPS, YAML, body)).creates(MAP)
}

pub(super) fn yaml_aliases() -> Plan {
    let mut body = "metadata: {name: hostile}\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for at in 0..10 {
        let items = list(10, |_| format!("*a{at}"));
        body += &format!("a{next}: &a{next} [{items}]\n", next = at + 1);
    }
    yaml(body)
}

pub(super) fn yaml_deep() -> Plan {
    yaml(format!(
        "x: {}{}\n",
        "[".repeat(500_000),
        "]".repeat(500_000)
    ))
}

pub(super) fn yaml_items() -> Plan {
    yaml(format!(
        "metadata: {{name: hostile}}\nx:\n{}",
        "- 1\n".repeat(700_000)
    ))
}

/// A field of a protobuf message, with its length as a variable-length integer.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(bytes);
    out
}

fn protobuf(spec: &[u8]) -> Plan {
    let meta = [field(1, b"v1"), field(2, b"Pod")].concat();
    let pod = [field(1, &field(1, b"hostile")), field(2, spec)].concat();
    let body = [b"k8s\0".to_vec(), field(1, &meta), field(2, &pod)].concat();
    Plan::of(Call::new("POST", PODS, PROTOBUF, body))
}

pub(super) fn protobuf_containers() -> Plan {
    protobuf(&field(2, b"").repeat(1_500_000))
}

pub(super) fn protobuf_deep() -> Plan {
    let deep = (0..1000).fold(Vec::new(), |inner, _| field(2, &inner));
    protobuf(&deep)
}

pub(super) fn docker_config() -> Plan {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let config = format!(
        r#"{{"auths":[{}]}}"#,
        list(250_000, |_| r#"{"":1}"#.to_owned())
    );
    let members = format!(
        r#""type":"kubernetes.io/dockerconfigjson","data":{{".dockerconfigjson":"{}"}}"#,
        STANDARD.encode(config)
    );
    Plan::of(Call::post(SECRETS, named(&members)))
}

//! Bodies with too many values, and with more faults than are listed.

use pandaemon_machinery::{
    decode::{FieldValidation, MediaType, decode, parse_json, parse_yaml},
    scheme,
};

use super::{kind, refusal};

const REFUSED: &str = "too many values: at most 500000 are allowed, of them 50000 objects";

fn map(members: &str) -> String {
    format!(r#"{{"metadata":{{"name":"m"}},{members}}}"#)
}

fn list(count: usize, item: &str) -> String {
    vec![item; count].join(",")
}

#[test]
fn bodies_have_so_many_values_and_objects() {
    let map_kind = kind("v1", "ConfigMap");
    // The object itself, its metadata, and 49,998 more.
    let objects = |count: usize| map(&format!(r#""x":[{}]"#, list(count, "{}")));
    let accepted = decode(
        scheme::built_in(),
        map_kind,
        objects(49_998).as_bytes(),
        MediaType::Json,
        FieldValidation::Ignore,
    );
    let accepted = accepted.expect("an object").value;
    assert_eq!(accepted["metadata"]["name"], "m");
    // A field takes room for its name, too.
    let values = map(&format!(r#""x":[{}]"#, list(500_000, "1")));
    let names = map(&format!(r#""x":{{{}}}"#, list(250_000, r#""":1"#)));
    for body in [objects(49_999), values, names] {
        let text = refusal(map_kind, &body, FieldValidation::Ignore);
        assert!(text.contains(REFUSED), "{text}");
        let text = parse_json(body.as_bytes())
            .expect_err("a patch")
            .to_string();
        assert!(text.starts_with(REFUSED), "{text}");
    }
    let yaml = format!("x:\n{}", "- {}\n".repeat(50_000));
    let text = parse_yaml(yaml.as_bytes()).expect_err("too large");
    assert!(
        text.starts_with("error converting YAML to JSON: yaml: "),
        "{text}"
    );
    let aliases = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(0..9).fold(String::new(), |text, at| {
            let (from, to) = (
                if at == 0 {
                    "a".to_owned()
                } else {
                    format!("a{at}")
                },
                at + 1,
            );
            text + &format!("a{to}: &a{to} [{}]\n", list(10, &format!("*{from}")))
        });
    assert!(parse_yaml(aliases.as_bytes()).is_err());
    for deep in [
        "[".repeat(1_000) + &"]".repeat(1_000),
        "[".repeat(1_000_000),
    ] {
        assert!(parse_json(deep.as_bytes()).is_err());
        assert!(parse_yaml(deep.as_bytes()).is_err());
    }
}

#[test]
fn protobuf_bodies_have_so_many_values_and_objects() {
    // A spec of empty containers, two bytes each.
    let spec = [0x12, 0].repeat(50_000);
    let mut body = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12".to_vec();
    let varint = |out: &mut Vec<u8>, mut number: usize| {
        while number > 0x7f {
            out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    };
    varint(&mut body, spec.len() + 4);
    body.push(0x12);
    varint(&mut body, spec.len());
    body.extend_from_slice(&spec);
    let pod = kind("v1", "Pod");
    let (scheme, mode) = (scheme::built_in(), FieldValidation::Ignore);
    let refused = decode(scheme, pod, &body, MediaType::Protobuf, mode);
    let text = refused.expect_err("too many containers").message;
    assert!(text.contains(REFUSED), "{text}");
}

/// Upstream's decoder (`saveStrictError` of `sigs.k8s.io/json`) has the same bound.
#[test]
fn a_hundred_unknown_and_duplicate_fields_are_listed() {
    let unknown: Vec<String> = (0..150).map(|at| format!(r#""x{at}":1"#)).collect();
    let duplicate = r#""data":{"a":"","a":"","a":""}"#;
    let body = map(&format!("{duplicate},{}", unknown.join(",")));
    let map_kind = kind("v1", "ConfigMap");
    let text = refusal(map_kind, &body, FieldValidation::Strict);
    assert_eq!(text.matches("duplicate field \"data.a\"").count(), 1);
    assert_eq!(text.matches("unknown field").count(), 99);
    // A path is as long as its keys: a few of them are enough.
    let long = "k".repeat(100_000);
    let field = format!(r#""{long}":"""#);
    let body = map(&format!(
        r#""data":{{{field},{field}}},"x{long}":1,"y{long}":1"#
    ));
    let text = refusal(map_kind, &body, FieldValidation::Strict);
    assert!(text.len() < 300_000, "{} bytes", text.len());
    assert!(text.contains("... (100"), "cut off");
}

//! The words of Go's decoders, which clients and people know.

use serde_json::{Value, error::Category};

use crate::schema::{Field, Shape, Type};

/// What `FindTypeMeta` decodes into, as Go prints the type.
const TYPE_META: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                         Kind string \"json:\\\"kind,omitempty\\\"\" }";

/// Fields whose Go type has a name of its own.
const NAMED: &[(&str, &str, &str)] = &[
    ("Container", "imagePullPolicy", "v1.PullPolicy"),
    (
        "Container",
        "terminationMessagePolicy",
        "v1.TerminationMessagePolicy",
    ),
    ("ContainerPort", "protocol", "v1.Protocol"),
    (
        "DaemonSetUpdateStrategy",
        "type",
        "v1.DaemonSetUpdateStrategyType",
    ),
    ("HTTPGetAction", "scheme", "v1.URIScheme"),
    ("HostPathVolumeSource", "type", "v1.HostPathType"),
    (
        "LabelSelectorRequirement",
        "operator",
        "v1.LabelSelectorOperator",
    ),
    ("NodeStatus", "allocatable", "v1.ResourceList"),
    ("NodeStatus", "capacity", "v1.ResourceList"),
    ("ObjectMeta", "uid", "types.UID"),
    ("OwnerReference", "uid", "types.UID"),
    ("PodSpec", "dnsPolicy", "v1.DNSPolicy"),
    ("PodSpec", "preemptionPolicy", "v1.PreemptionPolicy"),
    ("PodSpec", "restartPolicy", "v1.RestartPolicy"),
    ("PodStatus", "phase", "v1.PodPhase"),
    ("ResourceRequirements", "limits", "v1.ResourceList"),
    ("ResourceRequirements", "requests", "v1.ResourceList"),
    ("Secret", "type", "v1.SecretType"),
    ("ServicePort", "protocol", "v1.Protocol"),
    ("ServiceSpec", "type", "v1.ServiceType"),
    ("Taint", "effect", "v1.TaintEffect"),
    ("Toleration", "effect", "v1.TaintEffect"),
    ("Toleration", "operator", "v1.TolerationOperator"),
];

/// The name that Go has for the kind of a JSON value.
pub(super) fn value_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The Go type of a field that should have been given.
pub(super) fn field_type(owner: &Type, field: &Field) -> String {
    let named = NAMED
        .iter()
        .find(|(of, name, _)| *of == owner.short_name() && *name == field.name);
    named.map_or_else(|| type_name(field.shape), |(.., named)| (*named).to_owned())
}

/// The Go type of a shape.
pub(super) fn type_name(shape: Shape) -> String {
    match shape {
        Shape::String | Shape::Time | Shape::MicroTime | Shape::Quantity => "string".into(),
        Shape::Bool => "bool".into(),
        Shape::Int32 | Shape::IntOrString => "int32".into(),
        Shape::Int64 => "int64".into(),
        Shape::Float => "float64".into(),
        Shape::Bytes => "[]uint8".into(),
        Shape::Any => "map[string]interface {}".into(),
        Shape::Object(table) => format!("v1.{}", table.short_name()),
        Shape::List(item) => format!("[]{}", type_name(*item)),
        Shape::Map(value) => format!("map[string]{}", type_name(*value)),
    }
}

/// The text about a body whose `apiVersion` and `kind` cannot be read.
pub(super) fn no_kind(why: &str) -> String {
    format!("couldn't get version/kind; json parse error: {why}")
}

/// The text about a body that is no object.
pub(super) fn not_an_object(value: &Value) -> String {
    no_kind(&format!(
        "json: cannot unmarshal {} into Go value of type {TYPE_META}",
        value_name(value)
    ))
}

/// The first bytes of a body, for the error about it.
pub(super) fn summarize(body: &[u8]) -> String {
    const MOST: usize = 30;
    let (shown, rest) = body.split_at(body.len().min(MOST));
    let more = if rest.is_empty() { "" } else { " ..." };
    match shown.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(shown)),
        Some(_) => {
            let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

/// What `encoding/json` says about bad syntax.
pub(super) fn syntax(body: &[u8], error: &serde_json::Error) -> String {
    if error.classify() == Category::Eof {
        return "unexpected end of JSON input".into();
    }
    let text = error.to_string();
    let Some(found) = character(body, error) else {
        return text;
    };
    let context = [
        ("trailing characters", "after top-level value"),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        (
            "key must be a string",
            "looking for beginning of object key string",
        ),
        (
            "trailing comma",
            "looking for beginning of object key string",
        ),
        ("expected value", "looking for beginning of value"),
    ];
    match context.iter().find(|(ours, _)| text.starts_with(ours)) {
        Some((_, go)) => format!("invalid character '{found}' {go}"),
        None => text,
    }
}

fn character(body: &[u8], error: &serde_json::Error) -> Option<char> {
    let line = body
        .split(|&byte| byte == b'\n')
        .nth(error.line().checked_sub(1)?)?;
    let at = error.column().checked_sub(1)?;
    std::str::from_utf8(line.get(at..)?).ok()?.chars().next()
}

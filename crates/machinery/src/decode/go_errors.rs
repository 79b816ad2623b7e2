//! Error texts of Go's decoders (`encoding/json`, `sigs.k8s.io/json`, apimachinery's serializers).

use serde_json::Value;

use crate::{
    go_text::json_type,
    schema::{Field, Shape, Type},
};

/// The Go type that upstream decodes `apiVersion` and `kind` into.
const TYPE_META: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                         Kind string \"json:\\\"kind,omitempty\\\"\" }";

/// Fields with a named Go type: the struct, the field, the type.
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

/// The Go type of a field.
pub(super) fn field_type(owner: Type<'_>, field: Field<'_>) -> String {
    let named = NAMED
        .iter()
        .find(|(of, name, _)| *of == owner.short_name() && *name == field.name);
    named.map_or_else(|| type_name(field.shape), |(.., named)| (*named).to_owned())
}

/// The Go type of a value of this shape.
pub(super) fn type_name(shape: Shape<'_>) -> String {
    match shape {
        Shape::String | Shape::Time | Shape::MicroTime | Shape::Quantity => "string".into(),
        Shape::Bool => "bool".into(),
        Shape::Int32 | Shape::IntOrString => "int32".into(),
        Shape::Int64 => "int64".into(),
        Shape::Float => "float64".into(),
        Shape::Bytes => "[]uint8".into(),
        Shape::Any => "map[string]interface {}".into(),
        Shape::Object(table) => format!("v1.{}", table.short_name()),
        Shape::List(item) => format!("[]{}", type_name(item.shape())),
        Shape::Map(value) => format!("map[string]{}", type_name(value.shape())),
    }
}

/// The text for a body whose `apiVersion` and `kind` cannot be read.
pub(super) fn no_kind(why: &str) -> String {
    format!("couldn't get version/kind; json parse error: {why}")
}

/// The text for a body that is no object.
pub(super) fn not_an_object(value: &Value) -> String {
    no_kind(&format!(
        "json: cannot unmarshal {} into Go value of type {TYPE_META}",
        json_type(value)
    ))
}

/// The first bytes of a body, as upstream appends them to the error.
pub(super) fn summarize(body: &[u8]) -> String {
    const SHOWN_BYTES: usize = 30;
    let (shown, rest) = body.split_at(body.len().min(SHOWN_BYTES));
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

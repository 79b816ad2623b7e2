//! Rows of `Event`, in the form of `v1` or of `events.k8s.io/v1`.

use serde_json::Value;

use super::cells::Clock;
use crate::json_fields::ReadFields;

pub(crate) fn cells(object: &Value, clock: Clock) -> Vec<Value> {
    let seen = Seen::of(object, clock);
    let about = object
        .field("involvedObject")
        .unwrap_or(&object["regarding"]);
    vec![
        seen.last.into(),
        object.text("type").into(),
        object.text("reason").into(),
        target(about).into(),
        about.text("fieldPath").into(),
        source(object).into(),
        either(object, "message", "note").trim().into(),
        seen.first.into(),
        seen.count.into(),
        super::cells::name(object),
    ]
}

/// The first of two fields that is not empty: both groups name the same value differently.
fn either<'a>(object: &'a Value, one: &str, other: &str) -> &'a str {
    let text = object.text(one);
    if text.is_empty() {
        object.text(other)
    } else {
        text
    }
}

/// When and how often an event happened.
struct Seen {
    first: String,
    last: String,
    count: i64,
}

impl Seen {
    fn of(object: &Value, clock: Clock) -> Self {
        let first = match either(object, "firstTimestamp", "deprecatedFirstTimestamp") {
            "" => clock.since(object.text("eventTime")),
            time => clock.since(time),
        };
        let last = match either(object, "lastTimestamp", "deprecatedLastTimestamp") {
            "" => first.clone(),
            time => clock.since(time),
        };
        let count = object.int("count").max(object.int("deprecatedCount"));
        match object.field("series") {
            Some(series) => Self {
                first,
                last: clock.since(series.text("lastObservedTime")),
                count: series.int("count"),
            },
            // An event of `events.k8s.io/v1` that happened once has no count.
            None => Self {
                first,
                last,
                count: count.max(1),
            },
        }
    }
}

/// The cell Object, such as `pod/fluentd-x`.
fn target(about: &Value) -> String {
    let kind = about.text("kind").to_lowercase();
    match about.text("name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

/// The cell Source: `component, host`.
fn source(object: &Value) -> String {
    let source = object
        .field("source")
        .unwrap_or(&object["deprecatedSource"]);
    let component = match source.text("component") {
        "" => either(object, "reportingComponent", "reportingController"),
        component => component,
    };
    let host = match source.text("host") {
        "" => object.text("reportingInstance"),
        host => host,
    };
    if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    }
}

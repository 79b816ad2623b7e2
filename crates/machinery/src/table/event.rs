//! Rows of events, of either group: both versions name the same things differently.

use serde_json::Value;

use super::Clock;
use crate::access::Access;

pub(super) fn cells(object: &Value, clock: Clock) -> Vec<Value> {
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
        super::name(object),
    ]
}

fn either<'a>(object: &'a Value, one: &str, other: &str) -> &'a str {
    let text = object.text(one);
    if text.is_empty() {
        object.text(other)
    } else {
        text
    }
}

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
            // An event of the newer API that happened once has no count.
            None => Self {
                first,
                last,
                count: count.max(1),
            },
        }
    }
}

/// `pod/fluentd-x`
fn target(about: &Value) -> String {
    let kind = about.text("kind").to_lowercase();
    match about.text("name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

/// `component, host`
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

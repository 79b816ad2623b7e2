//! `DaemonSet`, as `pkg/apis/apps/validation`.

use pandaemon_types::LabelSelector;
use serde_json::Value;

use super::faults::{Faults, Path, Shown};
use super::{golang, meta, names, pod, selector};
use crate::Kind;
use crate::access::Access;

const SPEC: Path<'static> = Path::root("spec");

/// The spec of a new object; the metadata has been validated.
pub(super) fn validate(object: &Value, faults: &mut Faults) {
    spec(&object["spec"], faults);
}

/// The whole of a changed object: upstream validates it as a new one and as a change.
pub(super) fn update(kind: &Kind, old: &Value, new: &Value, faults: &mut Faults) {
    meta::validate(kind, new, faults);
    spec(&new["spec"], faults);
    meta::validate_update(old, new, faults);
    spec(&new["spec"], faults);
    let (before, after) = (&old["spec"]["selector"], &new["spec"]["selector"]);
    if before != after {
        let shown = Shown::go(golang::label_selector(after));
        faults.invalid(&SPEC.child("selector"), shown, "field is immutable");
    }
}

fn spec(spec: &Value, faults: &mut Faults) {
    let selector_path = SPEC.child("selector");
    selector::label_selector(&selector_path, &spec["selector"], faults);
    let template = &spec["template"];
    let labels = &template["metadata"]["labels"];
    let matches = LabelSelector::from_json(&spec["selector"]);
    if matches.is_ok_and(|selector| !is_selected(&selector, labels)) {
        let template_path = SPEC.child("template");
        let metadata = template_path.child("metadata");
        let shown = Shown::go(golang::string_map(labels));
        let why = "`selector` does not match template `labels`";
        faults.invalid(&metadata.child("labels"), shown, why);
    }
    if spec.has("selector") && is_empty(&spec["selector"]) {
        let shown = Shown::go(golang::label_selector(&spec["selector"]));
        faults.invalid(
            &selector_path,
            shown,
            "empty selector is invalid for daemonset",
        );
    }
    let template_path = SPEC.child("template");
    pod::template(&template_path, template, faults);
    template_rules(&template_path.child("spec"), &template["spec"], faults);
    faults.non_negative(&SPEC.child("minReadySeconds"), spec.int("minReadySeconds"));
    update_strategy(
        &SPEC.child("updateStrategy"),
        &spec["updateStrategy"],
        faults,
    );
    if let Some(limit) = spec.field("revisionHistoryLimit").and_then(Value::as_i64) {
        faults.non_negative(&SPEC.child("revisionHistoryLimit"), limit);
    }
}

fn is_selected(selector: &LabelSelector, labels: &Value) -> bool {
    let empty = serde_json::Map::new();
    selector.matches(labels.as_object().unwrap_or(&empty))
}

fn is_empty(selector: &Value) -> bool {
    selector
        .entries("matchLabels")
        .is_none_or(serde_json::Map::is_empty)
        && selector.items("matchExpressions").is_empty()
}

/// A daemon runs for ever.
fn template_rules(path: &Path<'_>, spec: &Value, faults: &mut Faults) {
    let policy = spec.text("restartPolicy");
    if policy != "Always" {
        faults.not_supported(&path.child("restartPolicy"), policy, &["Always"]);
    }
    if spec.has("activeDeadlineSeconds") {
        faults.forbidden(
            &path.child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in DaemonSet is not Supported",
        );
    }
}

fn update_strategy(path: &Path<'_>, strategy: &Value, faults: &mut Faults) {
    match strategy.text("type") {
        "OnDelete" => {}
        "RollingUpdate" => match strategy.field("rollingUpdate") {
            None => faults.required(&path.child("rollingUpdate"), ""),
            Some(rolling) => rolling_update(&path.child("rollingUpdate"), rolling, faults),
        },
        _ => faults.not_supported(
            path,
            Shown::go(golang::update_strategy(strategy)),
            &["RollingUpdate", "OnDelete"],
        ),
    }
}

fn rolling_update(path: &Path<'_>, rolling: &Value, faults: &mut Faults) {
    let numbers = ["maxUnavailable", "maxSurge"];
    for name in numbers {
        positive_int_or_percent(&path.child(name), &rolling[name], faults);
    }
    for name in numbers {
        let over = rolling[name]
            .as_str()
            .and_then(percent)
            .is_some_and(|percent| percent > 100);
        if over {
            let shown = Shown::go(golang::int_or_string(&rolling[name]));
            faults.invalid(&path.child(name), shown, "must not be greater than 100%");
        }
    }
    let [unavailable, surge] = numbers.map(|name| amount(&rolling[name]) != 0);
    if unavailable && surge {
        let shown = Shown::go(golang::int_or_string(&rolling["maxSurge"]));
        let why = "may not be set when maxUnavailable is non-zero";
        faults.invalid(&path.child("maxSurge"), shown, why);
    } else if !unavailable && !surge {
        faults.required(
            &path.child("maxUnavailable"),
            "cannot be 0 when maxSurge is 0",
        );
    }
}

fn positive_int_or_percent(path: &Path<'_>, value: &Value, faults: &mut Faults) {
    match value {
        Value::String(text) => {
            if let Some(why) = names::percent(text) {
                faults.invalid(path, Shown::go(golang::int_or_string(value)), why);
            }
        }
        number => faults.non_negative(path, number.as_i64().unwrap_or_default()),
    }
}

fn percent(text: &str) -> Option<i64> {
    if names::percent(text).is_some() {
        return None;
    }
    text.strip_suffix('%')?.parse().ok()
}

/// The number in front of the percent sign, the number itself, or 0.
fn amount(value: &Value) -> i64 {
    match value {
        Value::String(text) => percent(text)
            .or_else(|| text.parse().ok())
            .unwrap_or_default(),
        number => number.as_i64().unwrap_or_default(),
    }
}

/// A write to `/status`.
pub(super) fn status(old: &Value, new: &Value, faults: &mut Faults) {
    let root = Path::root("status");
    let (old, new) = (&old["status"], &new["status"]);
    let counters = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ];
    for counter in counters {
        faults.non_negative(&root.child(counter), new.int(counter));
    }
    let path = root.child("collisionCount");
    if let Some(count) = new.field("collisionCount").and_then(Value::as_i64) {
        faults.non_negative(&path, count);
    }
    if old.has("collisionCount") && new.int("collisionCount") < old.int("collisionCount") {
        faults.invalid(&path, new.int("collisionCount"), "cannot be decremented");
    }
}

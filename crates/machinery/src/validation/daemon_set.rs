//! `DaemonSet` (upstream's `pkg/apis/apps/validation`).

use pandaemon_types::LabelSelector;
use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{go_format, meta, names, pod, selector};
use crate::Kind;
use crate::json_fields::ReadFields;

const SPEC: Path<'static> = Path::root("spec");

/// Validates the spec of a new DaemonSet; the metadata is validated already.
pub(crate) fn validate(object: &Value, errors: &mut ErrorList) {
    spec(&object["spec"], errors);
}

/// Validates a changed DaemonSet. Upstream validates it as a new object and as a change, so an
/// error can occur twice.
pub(crate) fn update(kind: &Kind, old: &Value, new: &Value, errors: &mut ErrorList) {
    kind.validate_metadata(new, errors);
    spec(&new["spec"], errors);
    meta::validate_update(old, new, errors);
    spec(&new["spec"], errors);
    let (before, after) = (&old["spec"]["selector"], &new["spec"]["selector"]);
    if before != after {
        let shown = GoValue::formatted(go_format::label_selector(after));
        errors.invalid(&SPEC.child("selector"), shown, "field is immutable");
    }
}

fn spec(spec: &Value, errors: &mut ErrorList) {
    let selector_path = SPEC.child("selector");
    selector::label_selector(&selector_path, &spec["selector"], errors);
    let template = &spec["template"];
    let labels = &template["metadata"]["labels"];
    let matches = LabelSelector::from_json(&spec["selector"]);
    if matches.is_ok_and(|selector| !is_selected(&selector, labels)) {
        let template_path = SPEC.child("template");
        let metadata = template_path.child("metadata");
        let shown = GoValue::formatted(go_format::string_map(labels));
        let why = "`selector` does not match template `labels`";
        errors.invalid(&metadata.child("labels"), shown, why);
    }
    if spec.has("selector") && is_empty(&spec["selector"]) {
        let shown = GoValue::formatted(go_format::label_selector(&spec["selector"]));
        errors.invalid(
            &selector_path,
            shown,
            "empty selector is invalid for daemonset",
        );
    }
    let template_path = SPEC.child("template");
    pod::template(&template_path, template, errors);
    template_rules(&template_path.child("spec"), &template["spec"], errors);
    errors.non_negative(&SPEC.child("minReadySeconds"), spec.int("minReadySeconds"));
    update_strategy(
        &SPEC.child("updateStrategy"),
        &spec["updateStrategy"],
        errors,
    );
    if let Some(limit) = spec.field("revisionHistoryLimit").and_then(Value::as_i64) {
        errors.non_negative(&SPEC.child("revisionHistoryLimit"), limit);
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

/// Validates the rules that hold only for pod templates of a DaemonSet.
fn template_rules(path: &Path<'_>, spec: &Value, errors: &mut ErrorList) {
    let policy = spec.text("restartPolicy");
    if policy != "Always" {
        errors.not_supported(&path.child("restartPolicy"), policy, &["Always"]);
    }
    if spec.has("activeDeadlineSeconds") {
        errors.forbidden(
            &path.child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in DaemonSet is not Supported",
        );
    }
}

fn update_strategy(path: &Path<'_>, strategy: &Value, errors: &mut ErrorList) {
    match strategy.text("type") {
        "OnDelete" => {}
        "RollingUpdate" => match strategy.field("rollingUpdate") {
            None => errors.required(&path.child("rollingUpdate"), ""),
            Some(rolling) => rolling_update(&path.child("rollingUpdate"), rolling, errors),
        },
        _ => errors.not_supported(
            path,
            GoValue::formatted(go_format::update_strategy(strategy)),
            &["RollingUpdate", "OnDelete"],
        ),
    }
}

fn rolling_update(path: &Path<'_>, rolling: &Value, errors: &mut ErrorList) {
    let numbers = ["maxUnavailable", "maxSurge"];
    for name in numbers {
        positive_int_or_percent(&path.child(name), &rolling[name], errors);
    }
    for name in numbers {
        let over = rolling[name]
            .as_str()
            .and_then(percent)
            .is_some_and(|percent| percent > 100);
        if over {
            let shown = GoValue::formatted(go_format::int_or_string(&rolling[name]));
            errors.invalid(&path.child(name), shown, "must not be greater than 100%");
        }
    }
    let [unavailable, surge] = numbers.map(|name| amount(&rolling[name]) != 0);
    if unavailable && surge {
        let shown = GoValue::formatted(go_format::int_or_string(&rolling["maxSurge"]));
        let why = "may not be set when maxUnavailable is non-zero";
        errors.invalid(&path.child("maxSurge"), shown, why);
    } else if !unavailable && !surge {
        errors.required(
            &path.child("maxUnavailable"),
            "cannot be 0 when maxSurge is 0",
        );
    }
}

fn positive_int_or_percent(path: &Path<'_>, value: &Value, errors: &mut ErrorList) {
    match value {
        Value::String(text) => {
            if let Some(why) = names::percent(text) {
                errors.invalid(
                    path,
                    GoValue::formatted(go_format::int_or_string(value)),
                    why,
                );
            }
        }
        number => errors.non_negative(path, number.as_i64().unwrap_or_default()),
    }
}

fn percent(text: &str) -> Option<i64> {
    if names::percent(text).is_some() {
        return None;
    }
    text.strip_suffix('%')?.parse().ok()
}

/// The number of an `IntOrString`, without the percent sign; 0 if there is none.
fn amount(value: &Value) -> i64 {
    match value {
        Value::String(text) => percent(text)
            .or_else(|| text.parse().ok())
            .unwrap_or_default(),
        number => number.as_i64().unwrap_or_default(),
    }
}

/// Validates a write to `/status` (upstream's `ValidateDaemonSetStatusUpdate`).
pub(crate) fn status(old: &Value, new: &Value, errors: &mut ErrorList) {
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
        errors.non_negative(&root.child(counter), new.int(counter));
    }
    let path = root.child("collisionCount");
    if let Some(count) = new.field("collisionCount").and_then(Value::as_i64) {
        errors.non_negative(&path, count);
    }
    if old.has("collisionCount") && new.int("collisionCount") < old.int("collisionCount") {
        errors.invalid(&path, new.int("collisionCount"), "cannot be decremented");
    }
}

//! What a stored role or binding lacks of a default one. Upstream:
//! `pkg/registry/rbac/reconciliation`.

use serde_json::{Map, Value};

use crate::{json_fields::ReadFields, rbac::PolicyRule};

/// The annotation by which an object opts out of the changes, if it is `false`.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What is to be done with a stored role or binding.
#[derive(Debug, Clone, PartialEq)]
pub enum Reconciliation {
    /// It has everything, or opts out.
    Nothing,
    /// It is replaced by this.
    Update(Value),
    /// A binding of another role is deleted, and the default one is created.
    Recreate,
}

/// Adds to a stored role what it lacks of a default one: rules, selectors of an aggregation, labels
/// and annotations. What it has beyond that stays.
#[must_use]
pub fn reconcile_role(stored: &Value, default: &Value) -> Reconciliation {
    if opts_out(stored) {
        return Reconciliation::Nothing;
    }
    let mut role = stored.clone();
    add_metadata(&mut role, default);
    match default.field("aggregationRule") {
        // The rules of an aggregated role are those of others.
        Some(aggregation) => add_selectors(&mut role, aggregation),
        None => {
            if let Some(object) = role.as_object_mut() {
                object.remove("aggregationRule");
            }
            add_rules(&mut role, default);
        }
    }
    update(stored, role)
}

/// Adds to a stored binding what it lacks of a default one: subjects, labels and annotations. What
/// it has beyond that stays.
#[must_use]
pub fn reconcile_binding(stored: &Value, default: &Value) -> Reconciliation {
    if opts_out(stored) {
        return Reconciliation::Nothing;
    }
    if stored["roleRef"] != default["roleRef"] {
        return Reconciliation::Recreate;
    }
    let mut binding = stored.clone();
    add_metadata(&mut binding, default);
    add_missing(&mut binding, default, "subjects");
    update(stored, binding)
}

fn opts_out(stored: &Value) -> bool {
    stored["metadata"]["annotations"].text(AUTO_UPDATE) == "false"
}

fn update(stored: &Value, reconciled: Value) -> Reconciliation {
    if *stored == reconciled {
        Reconciliation::Nothing
    } else {
        Reconciliation::Update(reconciled)
    }
}

/// Adds labels and annotations; those that are set keep their values.
fn add_metadata(object: &mut Value, default: &Value) {
    for field in ["labels", "annotations"] {
        let Some(wanted) = default["metadata"][field].as_object() else {
            continue;
        };
        let map = &mut object["metadata"][field];
        if !map.is_object() {
            *map = Map::new().into();
        }
        for (key, value) in wanted {
            if map.field(key).is_none() {
                map[key] = value.clone();
            }
        }
    }
}

/// Adds the rules that no stored one contains, each for one verb of one resource.
fn add_rules(role: &mut Value, default: &Value) {
    let (stored, wanted) = (PolicyRule::of_role(role), PolicyRule::of_role(default));
    let missing = crate::rbac::not_covered(&stored, &wanted);
    push(role, "rules", missing.iter().map(to_value));
}

fn to_value(rule: &PolicyRule) -> Value {
    let lists = [
        ("apiGroups", &rule.api_groups),
        ("resources", &rule.resources),
        ("resourceNames", &rule.resource_names),
        ("nonResourceURLs", &rule.non_resource_urls),
        ("verbs", &rule.verbs),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let fields = lists.map(|(field, list)| (field.to_owned(), list.clone().into()));
    Value::Object(fields.collect())
}

fn add_selectors(role: &mut Value, default: &Value) {
    let rule = &mut role["aggregationRule"];
    if !rule.is_object() {
        *rule = Map::new().into();
    }
    add_missing(rule, default, "clusterRoleSelectors");
}

/// Adds the items of a list that are not in it.
fn add_missing(object: &mut Value, default: &Value, field: &str) {
    let has = object.items(field).to_vec();
    let missing = default.items(field).iter();
    let missing = missing.filter(|item| !has.contains(item)).cloned();
    push(object, field, missing);
}

fn push(object: &mut Value, field: &str, items: impl Iterator<Item = Value>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    match &mut object[field] {
        Value::Array(list) => list.extend(items),
        other => *other = items.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(verbs: &[&str]) -> Value {
        json!({
            "metadata": {
                "name": "r", "labels": {"l": "1"}, "annotations": {AUTO_UPDATE: "true"},
            },
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}],
        })
    }

    fn update_of(stored: &Value, default: &Value) -> Value {
        match reconcile_role(stored, default) {
            Reconciliation::Update(role) => {
                let again = reconcile_role(&role, default);
                assert_eq!(again, Reconciliation::Nothing, "{role}");
                role
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_role_gets_the_rules_labels_and_annotations_that_it_lacks() {
        let default = role(&["get", "list"]);
        assert_eq!(reconcile_role(&default, &default), Reconciliation::Nothing);
        assert_eq!(
            reconcile_role(&role(&["*"]), &default),
            Reconciliation::Nothing,
            "more is no less"
        );
        let mut stored = role(&["get", "delete"]);
        stored["metadata"] = json!({"name": "r", "labels": {"l": "2", "mine": "x"}});
        let updated = update_of(&stored, &default);
        assert_eq!(
            updated,
            json!({
                "metadata": {
                    "name": "r", "labels": {"l": "2", "mine": "x"},
                    "annotations": {AUTO_UPDATE: "true"},
                },
                "rules": [
                    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]},
                    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
                ],
            })
        );
        let mut empty = role(&[]);
        empty["rules"] = Value::Null;
        let updated = update_of(&empty, &default);
        assert_eq!(updated["rules"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn an_object_that_opts_out_is_left_alone() {
        let mut stored = role(&["delete"]);
        stored["metadata"]["annotations"][AUTO_UPDATE] = "false".into();
        let default = role(&["get"]);
        assert_eq!(reconcile_role(&stored, &default), Reconciliation::Nothing);
        stored["roleRef"] = json!({"name": "other"});
        let default = json!({"roleRef": {"name": "r"}});
        assert_eq!(
            reconcile_binding(&stored, &default),
            Reconciliation::Nothing
        );
    }

    #[test]
    fn an_aggregation_gets_the_selectors_that_it_lacks_and_keeps_its_rules() {
        let selector = |label: &str| json!({"matchLabels": {label: "true"}});
        let mut default = json!({"metadata": {"name": "r"}});
        default["aggregationRule"] = json!({"clusterRoleSelectors": [selector("a")]});
        let mut stored = role(&["get"]);
        let updated = update_of(&stored, &default);
        assert_eq!(updated["aggregationRule"], default["aggregationRule"]);
        assert_eq!(updated["rules"], stored["rules"]);
        stored["aggregationRule"] = json!({"clusterRoleSelectors": [selector("b")]});
        let updated = update_of(&stored, &default);
        let both = json!([selector("b"), selector("a")]);
        assert_eq!(updated["aggregationRule"]["clusterRoleSelectors"], both);
        let updated = update_of(&stored, &role(&["get"]));
        assert_eq!(
            updated.field("aggregationRule"),
            None,
            "it is no aggregation"
        );
    }

    #[test]
    fn a_binding_gets_the_subjects_that_it_lacks_or_is_made_anew() {
        let binding = |role: &str, subjects: &[&str]| {
            let subjects = subjects
                .iter()
                .map(|name| json!({"kind": "Group", "name": name}));
            json!({
                "metadata": {"name": "b"}, "roleRef": {"name": role},
                "subjects": subjects.collect::<Value>(),
            })
        };
        let default = binding("r", &["a", "b"]);
        let reconcile = |stored: &Value| reconcile_binding(stored, &default);
        assert_eq!(reconcile(&default), Reconciliation::Nothing);
        assert_eq!(
            reconcile(&binding("r", &["b", "a", "c"])),
            Reconciliation::Nothing
        );
        assert_eq!(
            reconcile(&binding("r", &["c", "b"])),
            Reconciliation::Update(binding("r", &["c", "b", "a"]))
        );
        assert_eq!(
            reconcile(&binding("s", &["a", "b"])),
            Reconciliation::Recreate
        );
    }
}

//! `flowcontrol.apiserver.k8s.io` (upstream's `pkg/apis/flowcontrol/validation`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{go_format, names};
use crate::{default_flow_control as defaults, json_fields::ReadFields};

const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

/// The most queues of a level.
const MAX_QUEUES: i64 = 10_000_000;
/// How many bits of a hash may choose a flow's queues (`shufflesharding.MaxHashBits`).
const MAX_HASH_BITS: f64 = 60.0;

/// Validates a FlowSchema; the metadata is validated already.
pub(crate) fn flow_schema(object: &Value, errors: &mut ErrorList) {
    let spec = Path::root("spec");
    let name = object["metadata"].text("name");
    schema_spec(&spec, name, &object["spec"], errors);
    fixed(&spec, object, &defaults::flow_schemas(), errors);
    conditions(&object["status"], errors);
}

/// Validates the status of a FlowSchema.
pub(crate) fn flow_schema_status(_old: &Value, new: &Value, errors: &mut ErrorList) {
    conditions(&new["status"], errors);
}

/// Validates a PriorityLevelConfiguration; the metadata is validated already.
pub(crate) fn priority_level(object: &Value, errors: &mut ErrorList) {
    let spec = Path::root("spec");
    let name = object["metadata"].text("name");
    level_spec(&spec, name, &object["spec"], errors);
    fixed(&spec, object, &defaults::priority_levels(), errors);
    conditions(&object["status"], errors);
}

/// Validates the status of a PriorityLevelConfiguration.
pub(crate) fn priority_level_status(_old: &Value, new: &Value, errors: &mut ErrorList) {
    conditions(&new["status"], errors);
}

/// The mandatory objects have one spec. What the level `exempt` lends is for people to say
/// (`ValidateIfMandatoryPriorityLevelConfigurationObject`).
fn fixed(path: &Path<'_>, object: &Value, known: &[Value], errors: &mut ErrorList) {
    let name = object["metadata"].text("name");
    let is_it = |one: &&Value| one["metadata"].text("name") == name;
    let Some(known) = known.iter().find(is_it) else {
        return;
    };
    if !defaults::is_mandatory(name) {
        return;
    }
    let (mut spec, mut wanted) = (object["spec"].clone(), known["spec"].clone());
    let mut but = "";
    if name == "exempt"
        && let (Some(spec), Some(wanted)) = (spec.as_object_mut(), wanted.as_object_mut())
        && spec.remove("exempt").is_some()
        && wanted.remove("exempt").is_some()
    {
        but = " except the 'spec.exempt' field";
    }
    if spec != wanted {
        let detail = format!("spec of '{name}'{but} must equal the fixed value");
        let shown = GoValue::formatted(object["spec"].to_string());
        errors.invalid(path, shown, &detail);
    }
}

fn schema_spec(path: &Path<'_>, name: &str, spec: &Value, errors: &mut ErrorList) {
    let precedence = spec.int("matchingPrecedence");
    let why = match precedence {
        ..=0 => Some("must be a positive value"),
        10_001.. => Some("must not be greater than 10000"),
        1 if name != "exempt" => {
            Some("only the schema named 'exempt' may have matchingPrecedence 1")
        }
        _ => None,
    };
    if let Some(why) = why {
        errors.invalid(&path.child("matchingPrecedence"), precedence, why);
    }
    if let Some(method) = spec.field("distinguisherMethod") {
        let path = path.child("distinguisherMethod");
        let supported = ["ByNamespace", "ByUser"];
        errors.one_of(&path.child("type"), method.text("type"), &supported);
    }
    let level = path.child("priorityLevelConfiguration");
    match spec["priorityLevelConfiguration"].text("name") {
        "" => errors.required(&level.child("name"), "must reference a priority level"),
        name => names::check_subdomain(&level.child("name"), name, errors),
    }
    let rules = path.child("rules");
    for (at, rule) in spec.items("rules").iter().enumerate() {
        schema_rule(&rules.index(at), rule, errors);
    }
}

fn schema_rule(path: &Path<'_>, rule: &Value, errors: &mut ErrorList) {
    let subjects = path.child("subjects");
    if rule.items("subjects").is_empty() {
        errors.required(&subjects, "subjects must contain at least one value");
    }
    for (at, one) in rule.items("subjects").iter().enumerate() {
        subject(&subjects.index(at), one, errors);
    }
    let (of_resources, of_paths) = (rule.items("resourceRules"), rule.items("nonResourceRules"));
    if of_resources.is_empty() && of_paths.is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.required(path, why);
    }
    let rules = path.child("resourceRules");
    for (at, rule) in of_resources.iter().enumerate() {
        resource_rule(&rules.index(at), rule, errors);
    }
    let rules = path.child("nonResourceRules");
    for (at, rule) in of_paths.iter().enumerate() {
        path_rule(&rules.index(at), rule, errors);
    }
}

fn subject(path: &Path<'_>, subject: &Value, errors: &mut ErrorList) {
    let kinds = [
        ("ServiceAccount", "serviceAccount"),
        ("User", "user"),
        ("Group", "group"),
    ];
    let given = subject.text("kind");
    let Some((_, own)) = kinds.iter().find(|(kind, _)| *kind == given) else {
        let supported = ["Group", "ServiceAccount", "User"];
        return errors.not_supported(&path.child("kind"), given, &supported);
    };
    let field = path.child(own);
    match subject.field(own) {
        None => {
            let why = format!("{own} is required when subject kind is '{given}'");
            errors.required(&field, &why);
        }
        Some(named) => subject_name(&field, given, named, errors),
    }
    for (kind, other) in kinds.iter().filter(|(kind, _)| *kind != given) {
        if subject.has(other) {
            let why = format!("{other} is forbidden when subject kind is not '{kind}'");
            errors.forbidden(&path.child(other), &why);
        }
    }
}

fn subject_name(path: &Path<'_>, kind: &str, subject: &Value, errors: &mut ErrorList) {
    let (name, namespace) = (subject.text("name"), subject.text("namespace"));
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else if kind == "ServiceAccount" && name != "*" {
        names::check_subdomain(&path.child("name"), name, errors);
    }
    if kind != "ServiceAccount" {
        return;
    }
    let field = path.child("namespace");
    match namespace {
        "" => errors.required(&field, "must specify namespace for service account"),
        namespace => names::check_label(&field, namespace, errors),
    }
}

/// Checks that a list has values, and nothing beside `*`. Returns whether each value counts.
fn wildcard(
    path: &Path<'_>,
    rule: &Value,
    field: &str,
    required: &str,
    others: &str,
    errors: &mut ErrorList,
) -> bool {
    let values = rule.items(field);
    let has_wildcard = values.iter().any(|value| value == "*");
    if values.is_empty() {
        errors.required(&path.child(field), required);
    } else if has_wildcard && values.len() > 1 {
        let detail = format!("if '*' is present, must not specify other {others}");
        let shown = GoValue::formatted(go_format::strings(&rule[field]));
        errors.invalid(&path.child(field), shown, &detail);
    }
    !has_wildcard
}

fn verbs(path: &Path<'_>, rule: &Value, errors: &mut ErrorList) {
    let required = "verbs must contain at least one value";
    let is_known = |verb: &Value| VERBS.iter().any(|known| verb == known);
    if wildcard(path, rule, "verbs", required, "verbs", errors)
        && !rule.items("verbs").iter().all(is_known)
    {
        let shown = GoValue::formatted(go_format::strings(&rule["verbs"]));
        errors.not_supported(&path.child("verbs"), shown, &VERBS);
    }
}

fn resource_rule(path: &Path<'_>, rule: &Value, errors: &mut ErrorList) {
    verbs(path, rule, errors);
    let required = "resource rules must supply at least one api group";
    wildcard(path, rule, "apiGroups", required, "api groups", errors);
    let required = "resource rules must supply at least one resource";
    wildcard(path, rule, "resources", required, "resources", errors);
    let namespaces = rule.items("namespaces");
    if namespaces.is_empty() && rule.flag("clusterScope") {
        return;
    }
    let required = "resource rules that are not cluster scoped must supply at least one namespace";
    if !wildcard(path, rule, "namespaces", required, "namespaces", errors) {
        return;
    }
    let field = path.child("namespaces");
    for (at, namespace) in namespaces.iter().enumerate() {
        let namespace = namespace.as_str().unwrap_or_default();
        for why in names::label(namespace) {
            let why = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            errors.invalid(&field.index(at), namespace, &why);
        }
    }
}

fn path_rule(path: &Path<'_>, rule: &Value, errors: &mut ErrorList) {
    verbs(path, rule, errors);
    let required = "nonResourceURLs must contain at least one value";
    if !wildcard(
        path,
        rule,
        "nonResourceURLs",
        required,
        "non-resource URLs",
        errors,
    ) {
        return;
    }
    let field = path.child("nonResourceURLs");
    for (at, url) in rule.items("nonResourceURLs").iter().enumerate() {
        let url = url.as_str().unwrap_or_default();
        if let Some(why) = wrong_path(url) {
            errors.invalid(&field.index(at), url, why);
        }
    }
}

/// What is wrong with the path of a rule (`ValidateNonResourceURLPath`).
fn wrong_path(path: &str) -> Option<&'static str> {
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if path.strip_suffix("/*").unwrap_or(path).contains('*') => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

fn level_spec(path: &Path<'_>, name: &str, spec: &Value, errors: &mut ErrorList) {
    let given = spec.text("type");
    if (name == "exempt") != (given == "Exempt") {
        let why = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.invalid(&path.child("type"), given, why);
    }
    let (exempt, limited) = (path.child("exempt"), path.child("limited"));
    match given {
        "Exempt" => {
            if spec.has("limited") {
                errors.forbidden(&limited, "must be nil if the type is not Limited");
            }
            if let Some(spec) = spec.field("exempt") {
                shares(&exempt, spec, errors);
            }
        }
        "Limited" => {
            if spec.has("exempt") {
                errors.forbidden(&exempt, "must be nil if the type is Limited");
            }
            match spec.field("limited") {
                None => errors.required(&limited, "must not be empty when type is Limited"),
                Some(spec) => level_limited(&limited, spec, errors),
            }
        }
        _ => errors.not_supported(&path.child("type"), given, &["Exempt", "Limited"]),
    }
}

fn shares(path: &Path<'_>, spec: &Value, errors: &mut ErrorList) {
    let shares = spec.int("nominalConcurrencyShares");
    if shares < 0 {
        let field = path.child("nominalConcurrencyShares");
        errors.invalid(&field, shares, "must be a non-negative integer");
    }
    let percent = spec.int("lendablePercent");
    if !(0..=100).contains(&percent) {
        let field = path.child("lendablePercent");
        errors.invalid(&field, percent, "must be between 0 and 100, inclusive");
    }
}

fn level_limited(path: &Path<'_>, spec: &Value, errors: &mut ErrorList) {
    shares(path, spec, errors);
    let percent = spec.int("borrowingLimitPercent");
    if percent < 0 {
        let field = path.child("borrowingLimitPercent");
        let why = "if specified, must be a non-negative integer";
        errors.invalid(&field, percent, why);
    }
    let (path, response) = (path.child("limitResponse"), &spec["limitResponse"]);
    let field = path.child("queuing");
    match (response.text("type"), response.field("queuing")) {
        ("Reject", Some(_)) => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            errors.forbidden(&field, why);
        }
        ("Queue", None) => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            errors.required(&field, why);
        }
        ("Queue", Some(spec)) => queuing(&field, spec, errors),
        ("Reject", None) => {}
        (given, _) => errors.not_supported(&path.child("type"), given, &["Queue", "Reject"]),
    }
}

fn queuing(path: &Path<'_>, spec: &Value, errors: &mut ErrorList) {
    let (length, queues) = (spec.int("queueLengthLimit"), spec.int("queues"));
    if length <= 0 {
        errors.invalid(&path.child("queueLengthLimit"), length, "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&path.child("queues"), queues, "must be positive");
    } else if queues > MAX_QUEUES {
        let why = format!("must not be greater than {MAX_QUEUES}");
        errors.invalid(&path.child("queues"), queues, &why);
    }
    let hand = spec.int("handSize");
    if let Some(why) = wrong_hand(queues, hand) {
        errors.invalid(&path.child("handSize"), hand, &why);
    }
}

/// What is wrong with the number of queues that a flow may use.
fn wrong_hand(queues: i64, hand: i64) -> Option<String> {
    if hand <= 0 {
        return Some("must be positive".into());
    }
    if hand > queues {
        return Some(format!("should not be greater than queues ({queues})"));
    }
    // Both are positive, and small wherever the result is used.
    let [deck, cards] =
        [queues, hand].map(|number| f64::from(u32::try_from(number).unwrap_or(u32::MAX)));
    (deck.log2() * cards > MAX_HASH_BITS).then(|| {
        format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater \
             than {MAX_HASH_BITS}"
        )
    })
}

fn conditions(status: &Value, errors: &mut ErrorList) {
    let root = Path::root("status");
    let path = root.child("conditions");
    let mut seen = BTreeSet::new();
    for (at, condition) in status.items("conditions").iter().enumerate() {
        let (item, of_type) = (path.index(at), condition.text("type"));
        if !seen.insert(of_type) {
            errors.duplicate(&item.child("type"), of_type);
        }
        if of_type.is_empty() {
            errors.required(&item.child("type"), "must not be empty");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The errors of an object with one field changed, as upstream writes them.
    fn errors(object: &Value, pointer: &str, value: Value) -> Vec<String> {
        let mut object = object.clone();
        object["metadata"]["name"] = "x".into();
        let field = object.pointer_mut(pointer).expect("a field");
        match value {
            Value::Null => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                let parent = object.pointer_mut(parent).unwrap();
                parent.as_object_mut().unwrap().remove(name);
            }
            value => *field = value,
        }
        let mut errors = ErrorList::default();
        match object["kind"].as_str() {
            Some("FlowSchema") => flow_schema(&object, &mut errors),
            _ => priority_level(&object, &mut errors),
        }
        errors.into_vec().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flow_schemas_get_upstreams_errors() {
        let schemas = defaults::flow_schemas();
        let all = |name: &str| schemas.iter().find(|one| one["metadata"]["name"] == name);
        let schema = all("service-accounts").unwrap();
        let none = |path: &str, value: Value| assert_eq!(errors(schema, path, value), [""; 0]);
        none("/metadata/name", json!("x"));
        none("/spec/matchingPrecedence", json!(10_000));
        let cases = [
            (
                "/spec/matchingPrecedence",
                json!(0),
                "spec.matchingPrecedence: Invalid value: 0: must be a positive value",
            ),
            (
                "/spec/matchingPrecedence",
                json!(10_001),
                "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
            ),
            (
                "/spec/matchingPrecedence",
                json!(1),
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ),
            (
                "/spec/distinguisherMethod/type",
                json!("ByMood"),
                "spec.distinguisherMethod.type: Unsupported value: \"ByMood\": supported values: \"ByNamespace\", \"ByUser\"",
            ),
            (
                "/spec/priorityLevelConfiguration/name",
                Value::Null,
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            ),
            (
                "/spec/rules/0/subjects",
                json!([]),
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
            ),
            (
                "/spec/rules/0/subjects/0/group",
                Value::Null,
                "spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group'",
            ),
            (
                "/spec/rules/0/subjects/0/kind",
                json!("Robot"),
                "spec.rules[0].subjects[0].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
            ),
            (
                "/spec/rules/0/subjects/0",
                json!({"kind": "User", "user": {"name": "a"}, "group": {"name": "b"}}),
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            ),
            (
                "/spec/rules/0/subjects/0",
                json!({"kind": "ServiceAccount", "serviceAccount": {"name": "a"}}),
                "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
            ),
        ];
        for (path, value, expected) in cases {
            assert_eq!(errors(schema, path, value), [expected], "{path}");
        }
    }

    #[test]
    fn rules_of_flow_schemas_get_upstreams_errors() {
        let schemas = defaults::flow_schemas();
        let all = |name: &str| schemas.iter().find(|one| one["metadata"]["name"] == name);
        let schema = all("service-accounts").unwrap();
        let rule = "/spec/rules/0/resourceRules/0";
        let in_rule = [
            (
                "verbs",
                json!([]),
                "Required value: verbs must contain at least one value",
            ),
            (
                "verbs",
                json!(["*", "get"]),
                "Invalid value: []string{\"*\", \"get\"}: if '*' is present, must not specify other verbs",
            ),
            (
                "apiGroups",
                json!([]),
                "Required value: resource rules must supply at least one api group",
            ),
            (
                "resources",
                json!(["*", "pods"]),
                "Invalid value: []string{\"*\", \"pods\"}: if '*' is present, must not specify other resources",
            ),
        ];
        for (field, value, expected) in in_rule {
            let found = errors(schema, &format!("{rule}/{field}"), value);
            assert_eq!(
                found,
                [format!(
                    "spec.rules[0].resourceRules[0].{field}: {expected}"
                )]
            );
        }
        assert_eq!(
            errors(schema, &format!("{rule}/namespaces"), json!(["A"])).len(),
            1
        );
        let urls = "/spec/rules/0/nonResourceRules/0/nonResourceURLs";
        for (url, expected) in [
            ("a", "must start with slash"),
            ("/a b", "must not contain white-space"),
            ("/a//b", "must not contain double slash"),
            ("/a*", "wildcard can only do suffix matching"),
            ("/*/a", "wildcard can only do suffix matching"),
        ] {
            let field = "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]";
            let expected = format!("{field}: Invalid value: {url:?}: {expected}");
            assert_eq!(errors(schema, urls, json!([url])), [expected]);
        }
        assert_eq!(errors(schema, urls, json!(["/a/*"])), [""; 0]);
    }

    #[test]
    fn priority_levels_get_upstreams_errors() {
        let levels = defaults::priority_levels();
        let level = &levels[2];
        let none = |path: &str, value: Value| assert_eq!(errors(level, path, value), [""; 0]);
        none("/spec/limited/nominalConcurrencyShares", json!(0));
        let queuing = "/spec/limited/limitResponse/queuing";
        let cases = [
            (
                "/spec/type".to_owned(),
                json!("Exempt"),
                "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
            ),
            (
                "/spec/limited".to_owned(),
                Value::Null,
                "spec.limited: Required value: must not be empty when type is Limited",
            ),
            (
                "/spec/limited/nominalConcurrencyShares".to_owned(),
                json!(-1),
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
            ),
            (
                "/spec/limited/lendablePercent".to_owned(),
                json!(101),
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            ),
            (
                "/spec/limited/limitResponse/type".to_owned(),
                json!("Wait"),
                "spec.limited.limitResponse.type: Unsupported value: \"Wait\": supported values: \"Queue\", \"Reject\"",
            ),
            (
                "/spec/limited/limitResponse/type".to_owned(),
                json!("Reject"),
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
            ),
            (
                format!("{queuing}/handSize"),
                json!(65),
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 65: should not be greater than queues (64)",
            ),
            (
                format!("{queuing}/handSize"),
                json!(11),
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 11: required entropy bits of deckSize 64 and handSize 11 should not be greater than 60",
            ),
            (
                format!("{queuing}/queueLengthLimit"),
                json!(0),
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: 0: must be positive",
            ),
        ];
        for (path, value, expected) in cases {
            let found = errors(level, &path, value);
            assert!(
                found.iter().any(|error| error == expected),
                "{path}: {found:?}"
            );
        }
    }

    #[test]
    fn the_mandatory_objects_have_a_fixed_spec() {
        let mut catch_all = defaults::priority_levels().remove(1);
        let mut found = ErrorList::default();
        catch_all["spec"]["limited"]["nominalConcurrencyShares"] = 6.into();
        priority_level(&catch_all, &mut found);
        let text = found.into_vec()[0].to_string();
        assert!(
            text.ends_with("spec of 'catch-all' must equal the fixed value"),
            "{text}"
        );
        let mut exempt = defaults::priority_levels().remove(0);
        exempt["spec"]["exempt"]["lendablePercent"] = 9.into();
        let mut found = ErrorList::default();
        priority_level(&exempt, &mut found);
        assert!(found.is_empty());
    }
}

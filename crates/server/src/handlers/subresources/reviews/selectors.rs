//! The selectors of what an access review asks about. Upstream: `pkg/registry/authorization/util`.

use pandaemon_types::{FieldSelector, LabelSelector, field_selector::FieldRequirement};
use serde_json::Value;

/// How much of a selector no authorizer sees, as it cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignored {
    All,
    Part,
}

impl Ignored {
    /// As upstream says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "ignored",
            Self::Part => "partially ignored",
        }
    }

    /// Of requirements, of which this many are understood.
    fn of(understood: usize, all: usize) -> Option<Self> {
        match understood {
            _ if understood == all => None,
            0 => Some(Self::All),
            _ => Some(Self::Part),
        }
    }
}

/// The field selector of a review.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub selector: Option<FieldSelector>,
    pub ignored: Option<Ignored>,
}

/// A text, or requirements, of which those that no query can have do not count. Upstream:
/// `fieldSelectorAsSelector`.
pub(super) fn of_fields(given: &Value) -> Fields {
    let raw = super::text(&given["rawSelector"]);
    if !raw.is_empty() {
        let selector = FieldSelector::parse(raw).ok();
        return Fields {
            ignored: selector.is_none().then_some(Ignored::All),
            selector,
        };
    }
    let all = requirements(given);
    let understood: Vec<FieldRequirement> = all.iter().filter_map(field_requirement).collect();
    Fields {
        ignored: Ignored::of(understood.len(), all.len()),
        selector: (!understood.is_empty()).then(|| understood.into_iter().collect()),
    }
}

fn field_requirement(requirement: &Value) -> Option<FieldRequirement> {
    let values = super::texts(&requirement["values"]);
    let [value] = values.as_slice() else {
        return None;
    };
    let equal = match super::text(&requirement["operator"]) {
        "In" => true,
        "NotIn" => false,
        _ => return None,
    };
    Some(FieldRequirement {
        field: super::text(&requirement["key"]).to_owned(),
        value: value.clone(),
        equal,
    })
}

/// How much of a label selector cannot be understood. No authorizer here looks at labels. Upstream:
/// `labelSelectorAsSelector`.
pub(super) fn of_labels(given: &Value) -> Option<Ignored> {
    let raw = super::text(&given["rawSelector"]);
    if !raw.is_empty() {
        return LabelSelector::parse(raw).is_err().then_some(Ignored::All);
    }
    let known = ["In", "NotIn", "Exists", "DoesNotExist"];
    let all = requirements(given);
    let understood = all
        .iter()
        .filter(|one| known.contains(&super::text(&one["operator"])));
    Ignored::of(understood.count(), all.len())
}

fn requirements(given: &Value) -> &[Value] {
    let list = given["requirements"].as_array();
    list.map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_understood_is_said_and_the_rest_counts() {
        let good = json!({"key": "spec.nodeName", "operator": "In", "values": ["a"]});
        let two = json!({"key": "spec.nodeName", "operator": "In", "values": ["a", "b"]});
        let new = json!({"key": "a", "operator": "GreaterThan", "values": ["1"]});
        let exists = json!({"key": "a", "operator": "Exists"});
        let (all, part) = (Some(Ignored::All), Some(Ignored::Part));
        let selected = Some("spec.nodeName=a");
        for (given, fields, ignored, labels) in [
            (json!(null), None, None, None),
            (
                json!({"rawSelector": "spec.nodeName=a"}),
                selected,
                None,
                None,
            ),
            (json!({"rawSelector": "key in value"}), None, all, all),
            (json!({"rawSelector": "&"}), None, all, all),
            (json!({"requirements": [good]}), selected, None, None),
            (json!({"requirements": [two]}), None, all, None),
            (json!({"requirements": [two, good]}), selected, part, None),
            (json!({"requirements": [good, new]}), selected, part, part),
            (json!({"requirements": [new]}), None, all, all),
            (json!({"requirements": [exists]}), None, all, None),
        ] {
            let found = of_fields(&given);
            let shown = found.selector.map(|selector| selector.to_string());
            assert_eq!(
                (shown.as_deref(), found.ignored),
                (fields, ignored),
                "{given}"
            );
            assert_eq!(of_labels(&given), labels, "{given}");
        }
    }
}

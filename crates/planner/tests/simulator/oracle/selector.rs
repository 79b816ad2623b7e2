//! Label selectors of DaemonSets, after upstream's `LabelSelectorAsSelector`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::value::{Text, list, text, texts};

/// What a DaemonSet's selector says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    /// It cannot be read; upstream does nothing for such a set.
    Unreadable,
    /// It is empty and selects every pod; upstream only warns.
    Everything,
    /// These labels, each with one of these values.
    Labels(Vec<(Text, Vec<Text>)>),
}

impl Selector {
    pub(crate) fn read(selector: &Value) -> Self {
        let mut labels: Vec<(Text, Vec<Text>)> = texts(selector, "/matchLabels")
            .into_iter()
            .map(|(key, value)| (key, vec![value]))
            .collect();
        for expression in list(selector, "/matchExpressions") {
            // Scripts use no other operator that can be read.
            if text(expression, "/operator") != "In" {
                return Self::Unreadable;
            }
            let values = list(expression, "/values").iter();
            let values = values.filter_map(Value::as_str).map(Text::from).collect();
            labels.push((text(expression, "/key").into(), values));
        }
        if labels.is_empty() {
            Self::Everything
        } else {
            Self::Labels(labels)
        }
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<Text, Text>) -> bool {
        match self {
            Self::Unreadable => false,
            Self::Everything => true,
            Self::Labels(wanted) => wanted
                .iter()
                .all(|(key, values)| labels.get(key).is_some_and(|value| values.contains(value))),
        }
    }

    /// Whether the controller may act for a set with this selector.
    pub(crate) const fn is_usable(&self) -> bool {
        matches!(self, Self::Labels(_))
    }
}

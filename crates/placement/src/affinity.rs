//! Required node affinity: at least one term must match, and a term matches if all its tests do.

use std::fmt;

use pandaemon_types::{Labels as _, Name, NodeView, names};
use serde_json::Value;

/// The operator of a node selector requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeTestOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is missing.
    NotIn,
    /// The label exists.
    Exists,
    /// The label is missing.
    DoesNotExist,
    /// The label is an integer greater than the value.
    Gt,
    /// The label is an integer less than the value.
    Lt,
}

/// One requirement on a label of the node, or on its name (`metadata.name` in `matchFields`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTest {
    key: Name,
    operator: NodeTestOperator,
    values: Vec<Name>,
    on_field: bool,
}

/// A node selector term: all its tests must hold. A term without tests matches no node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSelectorTerm {
    tests: Vec<NodeTest>,
    impossible: bool,
}

impl NodeSelectorTerm {
    /// Reads `matchExpressions` and `matchFields`. A term with a requirement that cannot be read
    /// matches no node, as upstream treats a selector that does not parse.
    #[must_use]
    pub fn from_json(term: &Value) -> Self {
        let mut parsed = Self::default();
        for (list, on_field) in [("matchExpressions", false), ("matchFields", true)] {
            let tests = term.get(list).and_then(Value::as_array);
            for test in tests.into_iter().flatten() {
                match NodeTest::from_json(test, on_field) {
                    Some(test) => parsed.tests.push(test),
                    None => parsed.impossible = true,
                }
            }
        }
        parsed
    }

    /// The requirements of the term.
    pub fn tests(&self) -> impl Iterator<Item = &NodeTest> {
        self.tests.iter()
    }

    /// Whether the term is valid and not empty, so that some node could match.
    #[must_use]
    pub fn can_hold(&self) -> bool {
        !self.impossible && !self.tests.is_empty()
    }

    /// Whether the node matches the term.
    #[must_use]
    pub fn holds(&self, node: &NodeView) -> bool {
        self.can_hold() && self.failures(node).next().is_none()
    }

    /// The tests that the node fails.
    pub fn failures<'a>(&'a self, node: &'a NodeView) -> impl Iterator<Item = &'a NodeTest> {
        self.tests.iter().filter(|test| !test.holds(node))
    }
}

impl NodeTest {
    fn from_json(test: &Value, on_field: bool) -> Option<Self> {
        let key: Name = test.get("key")?.as_str()?.into();
        let values = test.get("values").and_then(Value::as_array);
        let values: Vec<Name> = values
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Name::from)
            .collect();
        let operator = match test.get("operator")?.as_str()? {
            "In" => NodeTestOperator::In,
            "NotIn" => NodeTestOperator::NotIn,
            "Exists" if !on_field => NodeTestOperator::Exists,
            "DoesNotExist" if !on_field => NodeTestOperator::DoesNotExist,
            "Gt" if !on_field => NodeTestOperator::Gt,
            "Lt" if !on_field => NodeTestOperator::Lt,
            _ => return None,
        };
        // Upstream parses `matchExpressions` as a label selector, whose keys and values are
        // validated.
        let is_text = |value: &Name| names::label_value(value).is_empty();
        let readable =
            on_field || (names::qualified_name(&key).is_empty() && values.iter().all(is_text));
        let fine = match operator {
            _ if !readable => false,
            _ if on_field => &*key == "metadata.name" && values.len() == 1,
            NodeTestOperator::In | NodeTestOperator::NotIn => !values.is_empty(),
            NodeTestOperator::Exists | NodeTestOperator::DoesNotExist => values.is_empty(),
            NodeTestOperator::Gt | NodeTestOperator::Lt => {
                values.len() == 1 && values.iter().all(|value| value.parse::<i64>().is_ok())
            }
        };
        fine.then_some(Self {
            key,
            operator,
            values,
            on_field,
        })
    }

    /// The label key or field path that it tests.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The node's value of the label or field.
    #[must_use]
    pub fn actual<'a>(&self, node: &'a NodeView) -> Option<&'a str> {
        if self.on_field {
            Some(&node.name)
        } else {
            node.labels.label(&self.key)
        }
    }

    /// Whether the node passes the test.
    #[must_use]
    pub fn holds(&self, node: &NodeView) -> bool {
        let actual = self.actual(node);
        let listed = |actual: &str| self.values.iter().any(|value| **value == *actual);
        let numbers = || {
            let wanted = self.values.first()?.parse::<i64>().ok()?;
            Some((actual?.parse::<i64>().ok()?, wanted))
        };
        match self.operator {
            NodeTestOperator::In => actual.is_some_and(listed),
            NodeTestOperator::NotIn => !actual.is_some_and(listed),
            NodeTestOperator::Exists => actual.is_some(),
            NodeTestOperator::DoesNotExist => actual.is_none(),
            NodeTestOperator::Gt => numbers().is_some_and(|(have, want)| have > want),
            NodeTestOperator::Lt => numbers().is_some_and(|(have, want)| have < want),
        }
    }
}

impl fmt::Display for NodeTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(", "));
        match self.operator {
            NodeTestOperator::In if self.values.len() == 1 => write!(f, "{key}={values}"),
            NodeTestOperator::In => write!(f, "{key} in ({values})"),
            NodeTestOperator::NotIn => write!(f, "{key} not in ({values})"),
            NodeTestOperator::Exists => write!(f, "a label {key}"),
            NodeTestOperator::DoesNotExist => write!(f, "no label {key}"),
            NodeTestOperator::Gt => write!(f, "{key} > {values}"),
            NodeTestOperator::Lt => write!(f, "{key} < {values}"),
        }
    }
}

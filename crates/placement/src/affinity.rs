//! Required node affinity: terms of which one must hold, each a list of tests that all must.

use std::fmt;

use pandaemon_types::{Labels as _, Name, NodeView, names};
use serde_json::Value;

/// How a test relates a node's value to its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeTestOperator {
    /// One of the values.
    In,
    /// None of the values; also true without the label.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// A larger whole number.
    Gt,
    /// A smaller whole number.
    Lt,
}

/// One test of a node's label, or of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTest {
    key: Name,
    operator: NodeTestOperator,
    values: Vec<Name>,
    on_field: bool,
}

/// Tests that must all hold. A term without tests never holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSelectorTerm {
    tests: Vec<NodeTest>,
    impossible: bool,
}

impl NodeSelectorTerm {
    /// Reads `matchExpressions` and `matchFields`. What cannot be read makes the term one that never
    /// holds, as upstream treats a selector that does not parse.
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

    /// The tests.
    pub fn tests(&self) -> impl Iterator<Item = &NodeTest> {
        self.tests.iter()
    }

    /// Whether some node could satisfy the term.
    #[must_use]
    pub fn can_hold(&self) -> bool {
        !self.impossible && !self.tests.is_empty()
    }

    /// Whether the node satisfies the term.
    #[must_use]
    pub fn holds(&self, node: &NodeView) -> bool {
        self.can_hold() && self.failing(node).is_none()
    }

    /// The tests that the node fails.
    pub fn failures<'a>(&'a self, node: &'a NodeView) -> impl Iterator<Item = &'a NodeTest> {
        self.tests.iter().filter(|test| !test.holds(node))
    }

    /// The first test that the node fails.
    #[must_use]
    pub fn failing(&self, node: &NodeView) -> Option<&NodeTest> {
        self.tests.iter().find(|test| !test.holds(node))
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
        // Upstream reads the tests of a term as a label selector, with that one's rules for texts.
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

    /// The label or field it looks at.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether it looks at the node's name rather than at a label.
    #[must_use]
    pub const fn is_on_field(&self) -> bool {
        self.on_field
    }

    /// What the node has.
    #[must_use]
    pub fn actual<'a>(&self, node: &'a NodeView) -> Option<&'a str> {
        if self.on_field {
            Some(&node.name)
        } else {
            node.labels.label(&self.key)
        }
    }

    /// Whether the node passes.
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

//! A number or a percentage, as in `maxUnavailable: 10%`: upstream's `intstr.IntOrString`.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// Why a value is neither a number nor a percentage; the message is upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for IntOrString: {0}")]
pub struct IntOrPercentError(&'static str);

/// A whole number, or a percentage of a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntOrPercent {
    /// An absolute number.
    Int(i32),
    /// A percentage, such as 10 for `10%`.
    Percent(i32),
}

impl IntOrPercent {
    /// Reads the JSON form: a number, or a string such as `"10%"`.
    ///
    /// # Errors
    /// Upstream's text when the value is neither a number nor a percentage.
    pub fn from_json(value: &Value) -> Result<Self, IntOrPercentError> {
        match value {
            Value::Number(number) => number
                .as_i64()
                .and_then(|n| i32::try_from(n).ok())
                .map(Self::Int)
                .ok_or(IntOrPercentError(
                    "invalid type: neither int nor percentage",
                )),
            Value::String(text) => text
                .strip_suffix('%')
                .ok_or(IntOrPercentError(
                    "invalid type: string is not a percentage",
                ))?
                .parse()
                .map(Self::Percent)
                .map_err(|_| IntOrPercentError("invalid type: string is not a percentage")),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(
                IntOrPercentError("invalid type: neither int nor percentage"),
            ),
        }
    }

    /// The absolute number for `total`; percentages round up, negative values count as 0.
    /// Upstream's
    /// `GetScaledValueFromIntOrPercent` with `roundUp`.
    #[must_use]
    pub fn of_rounded_up(self, total: usize) -> usize {
        match self {
            Self::Int(number) => usize::try_from(number).unwrap_or(0),
            Self::Percent(percent) => usize::try_from(percent)
                .unwrap_or(0)
                .saturating_mul(total)
                .div_ceil(100),
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn percentages_round_up() {
        let read = |value| IntOrPercent::from_json(&value).unwrap();
        for (value, total, wanted) in [
            (json!(1), 10, 1),
            (json!("10%"), 10, 1),
            (json!("10%"), 11, 2),
            (json!("0%"), 10, 0),
            (json!("100%"), 7, 7),
            (json!(-1), 7, 0),
        ] {
            assert_eq!(
                read(value.clone()).of_rounded_up(total),
                wanted,
                "{value} of {total}"
            );
        }
        let error = IntOrPercent::from_json(&json!("ten"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "invalid value for IntOrString: invalid type: string is not a percentage"
        );
        assert_eq!(read(json!("30%")).to_string(), "30%");
    }
}

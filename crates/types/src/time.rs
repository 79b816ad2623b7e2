//! Timestamps in milliseconds since 1970, and the formats in which the API writes times. Nothing
//! here reads a clock: time is always an argument.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A time in the format of `metav1.Time`: RFC 3339 in UTC with whole seconds, rounded down.
#[must_use]
pub fn rfc3339_seconds(time: jiff::Timestamp) -> String {
    format!("{time:.0}")
}

/// A time in the format of `metav1.MicroTime`: RFC 3339 in UTC with six digits of the second,
/// rounded down.
#[must_use]
pub fn rfc3339_micros(time: jiff::Timestamp) -> String {
    format!("{time:.6}")
}

/// A timestamp, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The timestamp `millis` milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The timestamp `seconds` seconds later.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        self.plus_millis(seconds.saturating_mul(1000))
    }

    /// The milliseconds from `earlier` to this timestamp; negative if `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, whole seconds, as Kubernetes writes `metav1.Time`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1000);
        match jiff::Timestamp::from_second(seconds) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{seconds}s"),
        }
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>()
            .map(|time| Self(time.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_seconds_and_micro_times_six_digits() {
        for (text, seconds, micros) in [
            (
                "2026-11-20T23:27:09.9999999Z",
                "2026-11-20T23:27:09Z",
                "2026-11-20T23:27:09.999999Z",
            ),
            (
                "2026-01-01T01:00:00+01:00",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:00.000000Z",
            ),
        ] {
            let time = text.parse().unwrap();
            assert_eq!(rfc3339_seconds(time), seconds);
            assert_eq!(rfc3339_micros(time), micros);
        }
    }

    #[test]
    fn times_print_as_kubernetes_prints_them() {
        let time: Timestamp = "2026-11-20T23:27:09.5Z".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-20T23:27:09Z");
        assert_eq!(time.0 % 1000, 500);
        assert_eq!(
            "2026-11-21T00:27:09+01:00".parse::<Timestamp>().unwrap().0,
            time.0 - 500
        );
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}

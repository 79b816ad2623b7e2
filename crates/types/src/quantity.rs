//! Amounts of resources, as upstream's `resource.Quantity`: parse, compare, add, and print in
//! the canonical form. Stored as an integer number of billionths: no floating point, no rounding.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// One whole unit in billionths.
const UNIT: i128 = 1_000_000_000;
/// Upstream caps amounts at the largest 64-bit integer.
const CAP: i128 = i64::MAX as i128 * UNIT;

/// The suffix family in which the amount was written, and is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `10e6`
    DecimalExponent,
    /// `10M`
    #[default]
    DecimalSi,
    /// `10Mi`
    BinarySi,
}

/// Why a text is not a quantity; the message is upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is not a number with a suffix.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An amount of a resource, such as `500m`, `1.5Gi` or `10e3`.
///
/// Equality and order compare the amount, not the suffix.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

impl Quantity {
    /// The quantity `0`.
    pub const ZERO: Self = Self {
        nano: 0,
        format: Format::DecimalSi,
    };

    /// A whole number.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self {
            nano: units as i128 * UNIT,
            format: Format::DecimalSi,
        }
    }

    /// A number of thousandths.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self {
            nano: millis as i128 * (UNIT / 1000),
            format: Format::DecimalSi,
        }
    }

    /// Reads the JSON form: a string, or a bare number.
    ///
    /// # Errors
    /// When it is neither, or not a quantity.
    pub fn from_json(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => text.trim().parse(),
            Value::Number(number) => number.to_string().parse(),
            Value::Null => Ok(Self::ZERO),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(QuantityError::Format),
        }
    }

    /// The suffix family in which it was written.
    #[must_use]
    pub const fn format(self) -> Format {
        self.format
    }

    /// Whether the amount is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether the amount is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// The amount in whole units, rounded up (away from zero), as upstream's `Value()`.
    #[must_use]
    pub fn units(self) -> i64 {
        clamp(away_from_zero(self.nano, UNIT))
    }

    /// The amount in thousandths, rounded up (away from zero), as upstream's `MilliValue()`.
    #[must_use]
    pub fn millis(self) -> i64 {
        clamp(away_from_zero(self.nano, UNIT / 1000))
    }

    /// Whether it is a whole number of units.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.nano % UNIT == 0
    }

    /// The amount rounded up to thousandths: what upstream's defaulting does to resource lists.
    #[must_use]
    pub fn round_up_to_millis(self) -> Self {
        let step = UNIT / 1000;
        Self {
            nano: away_from_zero(self.nano, step) * step,
            ..self
        }
    }

    fn decimal(self, format: Format) -> String {
        let (mut mantissa, mut exponent) = (self.nano, -9);
        while mantissa % 10 == 0 && exponent < 18 {
            mantissa /= 10;
            exponent += 1;
        }
        while exponent % 3 != 0 {
            mantissa *= 10;
            exponent -= 1;
        }
        let suffix = match (format, exponent) {
            (_, 0) => String::new(),
            (Format::DecimalExponent, _) => format!("e{exponent}"),
            (_, -9) => "n".into(),
            (_, -6) => "u".into(),
            (_, -3) => "m".into(),
            (_, 3) => "k".into(),
            (_, 6) => "M".into(),
            (_, 9) => "G".into(),
            (_, 12) => "T".into(),
            (_, 15) => "P".into(),
            (_, _) => "E".into(),
        };
        format!("{mantissa}{suffix}")
    }

    fn binary(self) -> String {
        let (mut mantissa, mut step) = (self.nano / UNIT, 0);
        while mantissa % 1024 == 0 && step < 6 {
            mantissa /= 1024;
            step += 1;
        }
        let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        format!(
            "{mantissa}{}",
            suffix.get(step).copied().unwrap_or_default()
        )
    }
}

// === arithmetic ===

impl std::ops::Add for Quantity {
    type Output = Self;

    /// The sum, printed in the family of the left side (of the right one if the left is zero).
    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() {
            other.format
        } else {
            self.format
        };
        Self {
            nano: self.nano.saturating_add(other.nano),
            format,
        }
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    /// The difference, printed in the family of the left side (of the right one if the left is
    /// zero).
    fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() {
            other.format
        } else {
            self.format
        };
        Self {
            nano: self.nano.saturating_sub(other.nano),
            format,
        }
    }
}

impl std::ops::AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::ops::SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

fn away_from_zero(amount: i128, step: i128) -> i128 {
    let whole = amount / step;
    if amount % step == 0 {
        whole
    } else {
        whole + amount.signum()
    }
}

fn clamp(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

// === text ===

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let small = self.nano.abs() < 1024 * UNIT;
        match self.format {
            Format::BinarySi if small || !self.is_whole() => {
                f.write_str(&self.decimal(Format::DecimalSi))
            }
            Format::BinarySi => f.write_str(&self.binary()),
            format @ (Format::DecimalExponent | Format::DecimalSi) => {
                f.write_str(&self.decimal(format))
            }
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, suffix) = split(text)?;
        let (scale, format) = scale(suffix)?;
        let negative = number.starts_with('-');
        let digits = number.trim_start_matches(['-', '+']);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let magnitude = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent),
            Scale::Two(exponent) => binary(whole, fraction, exponent),
        };
        let format = match format {
            Format::BinarySi if 0 < magnitude && magnitude < UNIT => Format::DecimalSi,
            format => format,
        };
        Ok(Self {
            nano: if negative { -magnitude } else { magnitude },
            format,
        })
    }
}

enum Scale {
    Ten(i64),
    Two(u32),
}

/// Splits into the number and its suffix, by upstream's grammar.
fn split(text: &str) -> Result<(&str, &str), QuantityError> {
    let bytes = text.as_bytes();
    let skip = |from: usize, accept: fn(&u8) -> bool| {
        from + bytes
            .iter()
            .skip(from)
            .take_while(|byte| accept(byte))
            .count()
    };
    if bytes.is_empty() {
        return Err(QuantityError::Format);
    }
    let start = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let mut end = skip(start, u8::is_ascii_digit);
    if bytes.get(end) == Some(&b'.') {
        end = skip(end + 1, u8::is_ascii_digit);
    }
    let mut rest = skip(end, |b| b"eEinumkKMGTP".contains(b));
    if matches!(bytes.get(rest), Some(b'-' | b'+')) {
        rest += 1;
    }
    if skip(rest, u8::is_ascii_digit) != bytes.len() {
        return Err(QuantityError::Format);
    }
    Ok(text.split_at(end))
}

fn scale(suffix: &str) -> Result<(Scale, Format), QuantityError> {
    let ten = |exponent| Ok((Scale::Ten(exponent), Format::DecimalSi));
    let two = |exponent| Ok((Scale::Two(exponent), Format::BinarySi));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => two(10),
        "Mi" => two(20),
        "Gi" => two(30),
        "Ti" => two(40),
        "Pi" => two(50),
        "Ei" => two(60),
        other => {
            let digits = other
                .strip_prefix(['e', 'E'])
                .ok_or(QuantityError::Suffix)?;
            let exponent = digits.parse().map_err(|_| QuantityError::Suffix)?;
            Ok((Scale::Ten(exponent), Format::DecimalExponent))
        }
    }
}

/// `whole.fraction` times ten to the `exponent`, in billionths, rounded up and capped.
fn decimal(whole: &str, fraction: &str, exponent: i64) -> i128 {
    let point = i64::try_from(whole.len())
        .unwrap_or(i64::MAX)
        .saturating_add(exponent);
    let keep = point.saturating_add(9);
    let (mut nano, mut lost, mut seen) = (0_i128, false, 0_i64);
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = i128::from(byte - b'0');
        if seen < keep {
            nano = nano.saturating_mul(10).saturating_add(digit);
        } else {
            lost |= digit != 0;
        }
        seen += 1;
        if CAP < nano {
            nano = CAP + 1;
        }
    }
    while nano != 0 && seen < keep && nano <= CAP {
        nano = nano.saturating_mul(10);
        seen += 1;
    }
    (nano + i128::from(lost)).min(CAP)
}

/// `whole.fraction` times two to the `exponent`, in billionths, rounded up and capped.
fn binary(whole: &str, fraction: &str, exponent: u32) -> i128 {
    let units: i128 = whole
        .parse()
        .unwrap_or(if whole.is_empty() { 0 } else { CAP });
    let factor = 1_i128 << exponent;
    let mut nano = units.saturating_mul(factor).saturating_mul(UNIT);
    // The fraction digit by digit, with a common divisor that stays far inside 128 bits.
    let (mut numerator, mut divisor) = (0_i128, 1_i128);
    for byte in fraction.bytes().take(9) {
        numerator = numerator * 10 + i128::from(byte - b'0');
        divisor *= 10;
    }
    let scaled = numerator
        .saturating_mul(factor)
        .saturating_mul(UNIT / divisor);
    let lost = fraction.bytes().skip(9).any(|byte| byte != b'0');
    nano = nano.saturating_add(scaled).saturating_add(i128::from(lost));
    nano.min(CAP)
}

// === serde ===

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;

//! Durations of command lines and queries, in Go's syntax (`time.ParseDuration`): `1m30s`, `250ms`,
//! `1.5h`.

use std::time::Duration;

/// Nanoseconds of the units, longest names first.
const UNITS: [(&str, u128); 8] = [
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
];
/// Digits of a fraction that matter: one more is less than a nanosecond of an hour.
const FRACTION_DIGITS: usize = 13;

/// Parses a duration that is not negative. A number without a unit is an error, except `0`.
///
/// # Errors
/// A message that names the text, for the command line.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("not a duration such as 500ms, 15s or 1m30s: {text:?}");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text, 0_u128);
    loop {
        let (nanoseconds, after) = part(rest).ok_or_else(wrong)?;
        sum = sum.checked_add(nanoseconds).ok_or_else(wrong)?;
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    // Go's durations are 64-bit numbers of nanoseconds.
    let nanoseconds = i64::try_from(sum).ok().and_then(|sum| sum.try_into().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(wrong)
}

/// Parses a duration; a number without a unit is in seconds.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_duration_or_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => parse_duration(text),
    }
}

/// The error of Go's `time.ParseDuration` for a text that [`parse_duration`] refuses.
#[must_use]
pub fn go_duration_error(text: &str) -> String {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    loop {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return format!("time: invalid duration {text:?}");
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        if unit.is_empty() {
            return format!("time: missing unit in duration {text:?}");
        }
        if UNITS.iter().all(|(known, _)| *known != unit) {
            return format!("time: unknown unit {unit:?} in duration {text:?}");
        }
        rest = after;
    }
}

/// The first number with its unit, in nanoseconds, and the rest of the text.
fn part(text: &str) -> Option<(u128, &str)> {
    let (whole, after) = digits(text);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((*unit, after.strip_prefix(name)?)))?;
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = fraction.get(..FRACTION_DIGITS).unwrap_or(fraction);
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part: u128 = format!("0{fraction}").parse().ok()?;
    let nanoseconds = whole.checked_mul(unit)? + part * unit / scale;
    Some((nanoseconds, rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_gos_syntax() {
        for (text, nanoseconds) in [
            ("15s", 15_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h0m0.5s", 3_600_500_000_000),
            ("250ms", 250_000_000),
            ("1.5m", 90_000_000_000),
            (".5s", 500_000_000),
            ("2.s", 2_000_000_000),
            ("3us4ns", 3_004),
            ("0.333333333333333333s", 333_333_333),
            ("0s", 0),
            ("0", 0),
        ] {
            let expected = Ok(Duration::from_nanos(nanoseconds));
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        for text in [
            "", "15", "s", ".s", "15 s", "-1s", "1d", "1.2.3s", "9e99h", "1s2", "3000000h", "soon",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.ends_with(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn errors_have_gos_texts() {
        for (text, expected) in [
            ("soon", "time: invalid duration \"soon\""),
            ("1s-", "time: unknown unit \"s-\" in duration \"1s-\""),
            (".s", "time: invalid duration \".s\""),
            ("9999999h", "time: invalid duration \"9999999h\""),
            ("-5", "time: missing unit in duration \"-5\""),
            ("1m5", "time: missing unit in duration \"1m5\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
        ] {
            assert_eq!(go_duration_error(text), expected);
        }
    }

    #[test]
    fn a_number_without_a_unit_can_be_seconds() {
        let seconds = |text| parse_duration_or_seconds(text).ok().map(|d| d.as_secs());
        assert_eq!(["3", "0", "2m"].map(seconds), [3, 0, 120].map(Some));
        assert_eq!(["", "1.5", "-1", "s"].map(seconds), [None; 4]);
    }
}

//! Texts that Go prints, which upstream's errors contain: syntax errors of `encoding/json`, type
//! names, and values in the formats `%q` and `%v`.

use serde_json::{Value, error::Category};

/// Our parser's error texts, and the state of Go's scanner that each stands for.
const SCANNER_STATES: [(&str, &str); 6] = [
    ("trailing characters", "after top-level value"),
    ("expected `:`", "after object key"),
    ("expected `,` or `}`", "after object key:value pair"),
    ("expected `,` or `]`", "after array element"),
    (
        "key must be a string",
        "looking for beginning of object key string",
    ),
    ("expected value", "looking for beginning of value"),
];

/// The name of the JSON type of a value.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The text of Go's decoder for a syntax error in `text`, such as
/// `invalid character 'x' looking for beginning of value`. Our own text where Go has no such state.
pub(crate) fn syntax_error(text: &[u8], error: &serde_json::Error) -> String {
    if error.classify() == Category::Eof {
        return "unexpected end of JSON input".into();
    }
    let own = error.to_string();
    let Some((before, found)) = position(text, error) else {
        return own;
    };
    let state = if own.starts_with("trailing comma") {
        match found {
            '}' => "looking for beginning of object key string".to_owned(),
            _ => "looking for beginning of value".to_owned(),
        }
    } else if own.starts_with("expected ident") {
        match literal(before) {
            Some(state) => state,
            None => return own,
        }
    } else {
        let known = SCANNER_STATES
            .iter()
            .find(|(start, _)| own.starts_with(start));
        match known {
            Some((_, state)) => (*state).to_owned(),
            None => return own,
        }
    };
    format!("invalid character {} {state}", quote_char(found))
}

/// The text of the line before the error, and the character that it points at.
fn position<'a>(text: &'a [u8], error: &serde_json::Error) -> Option<(&'a str, char)> {
    let line = text
        .split(|&byte| byte == b'\n')
        .nth(error.line().checked_sub(1)?)?;
    let (before, rest) = line.split_at_checked(error.column().checked_sub(1)?)?;
    let found = std::str::from_utf8(rest).ok()?.chars().next()?;
    Some((std::str::from_utf8(before).ok()?, found))
}

/// The state of Go's scanner inside the literal that `before` ends with: `in literal null
/// (expecting 'l')`.
fn literal(before: &str) -> Option<String> {
    let start = before
        .rfind(|c: char| !c.is_ascii_lowercase())
        .map_or(0, |at| at + 1);
    let seen = before.get(start..)?;
    let word = ["true", "false", "null"]
        .into_iter()
        .find(|word| !seen.is_empty() && word.starts_with(seen))?;
    let expected = word.get(seen.len()..)?.chars().next()?;
    Some(format!(
        "in literal {word} (expecting {})",
        quote_char(expected)
    ))
}

/// A character in quotes (Go's `quoteChar`).
fn quote_char(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => r#"'"'"#.to_owned(),
        c => {
            let quoted = quote(&c.to_string());
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}

/// A string in the format `%q`.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A decoded JSON value in the format `%v`, such as `map[a:1 b:[x y]]`.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => plain_list(items),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}:{}", plain(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// A list of decoded JSON values in the format `%v`, such as `[x y]`.
pub(crate) fn plain_list(items: &[Value]) -> String {
    let items: Vec<String> = items.iter().map(plain).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_have_gos_texts() {
        let cases = [
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            (
                "{a}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 2}",
                "invalid character '2' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[']",
                r"invalid character '\'' looking for beginning of value",
            ),
            ("{} \"", "invalid character '\"' after top-level value"),
            (
                "[nul1]",
                "invalid character '1' in literal null (expecting 'l')",
            ),
        ];
        for (text, expected) in cases {
            let error = serde_json::from_str::<Value>(text).unwrap_err();
            assert_eq!(syntax_error(text.as_bytes(), &error), expected, "{text}");
        }
    }

    #[test]
    fn values_have_gos_formats() {
        let value = serde_json::json!({"a": [true, null, 1.5, "x"], "b": {}});
        assert_eq!(plain(&value), "map[a:[true <nil> 1.5 x] b:map[]]");
        assert_eq!(quote("a\"b\n\u{1}"), r#""a\"b\n\x01""#);
    }
}

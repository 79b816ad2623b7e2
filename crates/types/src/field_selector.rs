//! Field selectors: the text form of the `fieldSelector` query parameter (`a.b=c,d!=e`).
//!
//! Which fields a kind supports is not known here; the server checks the names.

use std::fmt;

use crate::SelectorError;

/// One requirement on a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's path, such as `spec.nodeName`.
    pub field: String,
    /// The value it is compared with.
    pub value: String,
    /// Whether the field must have the value, or must not.
    pub equal: bool,
}

/// A field selector. The default one selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Reads the text form.
    ///
    /// # Errors
    /// The first fault, with upstream's message.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parts = split(text);
        parts.sort_unstable();
        let mut requirements = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let (field, equal, value) = term(part).ok_or_else(|| {
                SelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                ))
            })?;
            let value = unescape(value).map_err(SelectorError)?;
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                value,
                equal,
            });
        }
        Ok(Self { requirements })
    }

    /// The requirements; all must hold.
    #[must_use]
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether every object is selected.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object is selected whose fields have the values that `value_of` returns; a field
    /// without a value counts as empty.
    pub fn matches(&self, mut value_of: impl FnMut(&str) -> Option<String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let actual = value_of(&requirement.field).unwrap_or_default();
            (actual == requirement.value) == requirement.equal
        })
    }

    /// The one value that the field must have, if the selector requires exactly one.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        let found = self
            .requirements
            .iter()
            .find(|r| r.equal && r.field == field)?;
        Some(&found.value)
    }
}

impl FromIterator<FieldRequirement> for FieldSelector {
    fn from_iter<I: IntoIterator<Item = FieldRequirement>>(requirements: I) -> Self {
        let requirements = requirements.into_iter().collect();
        Self { requirements }
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.requirements.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            let operator = if requirement.equal { "=" } else { "!=" };
            let FieldRequirement { field, value, .. } = requirement;
            write!(f, "{comma}{field}{operator}")?;
            for ch in value.chars() {
                if matches!(ch, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{ch}")?;
            }
        }
        Ok(())
    }
}

/// Splits at commas that are not escaped by a backslash.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (position, ch) in text.char_indices() {
        match ch {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.extend(text.get(start..position));
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn term(part: &str) -> Option<(&str, bool, &str)> {
    for (position, _) in part.char_indices() {
        let (field, rest) = part.split_at(position);
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((field, equal, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(ch) = chars.next() {
        match ch {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => text.push(next),
                next => {
                    let sequence: String = ['\\'].into_iter().chain(next).collect();
                    return Err(format!(
                        "invalid field selector: invalid escape sequence: {sequence}"
                    ));
                }
            },
            ',' | '=' => {
                let code = u32::from(ch);
                return Err(format!(
                    "invalid field selector: unescaped character in value: {code}"
                ));
            }
            ch => text.push(ch),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_parse_as_upstream() {
        let selector = FieldSelector::parse("status.phase!=Running,metadata.name=a\\,b").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert_eq!(
            selector.to_string(),
            "metadata.name=a\\,b,status.phase!=Running"
        );
        assert!(selector.matches(|field| (field == "metadata.name").then(|| "a,b".to_owned())));
        assert!(!selector.matches(|_| None));
        assert!(FieldSelector::parse("").unwrap().is_everything());
        assert!(
            FieldSelector::parse("spec.nodeName=")
                .unwrap()
                .matches(|_| None)
        );
        assert!(
            FieldSelector::parse("a==b")
                .unwrap()
                .matches(|_| Some("b".into()))
        );
    }

    #[test]
    fn faults_have_upstreams_messages() {
        let error = |text| FieldSelector::parse(text).unwrap_err().to_string();
        assert_eq!(error("a"), "invalid selector: 'a'; can't understand 'a'");
        assert_eq!(
            error("a=b=c"),
            "invalid field selector: unescaped character in value: 61"
        );
        assert_eq!(
            error("a=\\x"),
            "invalid field selector: invalid escape sequence: \\x"
        );
    }
}

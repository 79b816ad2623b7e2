//! A JSON object with placeholders, serialized once and filled in for each of thousands of requests.

use serde_json::Value;

/// The text of an object, cut at its placeholders; there are `N` different ones.
#[derive(Debug, Clone)]
pub(crate) struct Template<const N: usize> {
    /// Each text with the index of the placeholder that follows it.
    parts: Vec<(Box<str>, usize)>,
    end: Box<str>,
}

impl<const N: usize> Template<N> {
    /// Cuts an object at the placeholders. Values filled in later must not need escapes in JSON.
    pub(crate) fn new(object: &Value, placeholders: [&str; N]) -> Self {
        let text = object.to_string();
        let mut rest = text.as_str();
        let mut parts = Vec::new();
        let next = |rest: &str| {
            let found = placeholders.iter().enumerate();
            let found =
                found.filter_map(|(index, text)| Some((rest.find(text)?, index, text.len())));
            found.min()
        };
        while let Some((at, index, length)) = next(rest) {
            let (before, after) = rest.split_at(at);
            parts.push((before.into(), index));
            rest = after.get(length..).unwrap_or_default();
        }
        let end = rest.into();
        Self { parts, end }
    }

    /// The object with these values in place of its placeholders.
    pub(crate) fn fill(&self, values: [&str; N]) -> Vec<u8> {
        let texts: usize = self.parts.iter().map(|(text, _)| text.len() + 40).sum();
        let mut out = Vec::with_capacity(texts + self.end.len());
        for (text, index) in &self.parts {
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(values.get(*index).copied().unwrap_or_default().as_bytes());
        }
        out.extend_from_slice(self.end.as_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_are_filled_wherever_they_stand() {
        let object = json!({"a": "@x@", "b": ["@y@-@x@", 1]});
        let template = Template::new(&object, ["@x@", "@y@"]);
        let filled: Value = serde_json::from_slice(&template.fill(["1", "2"])).unwrap();
        assert_eq!(filled, json!({"a": "1", "b": ["2-1", 1]}));
    }
}

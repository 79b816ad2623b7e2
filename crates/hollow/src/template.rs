//! An object with places: made once, filled for each of thousands of requests.

use serde_json::Value;

/// The text of an object, cut at its `N` kinds of places.
#[derive(Debug, Clone)]
pub(crate) struct Template<const N: usize> {
    /// A text, and the place that follows it.
    parts: Vec<(Box<str>, usize)>,
    end: Box<str>,
}

impl<const N: usize> Template<N> {
    /// Cuts an object at the marks. What is filled in later must not need escapes in JSON.
    pub(crate) fn new(object: &Value, marks: [&str; N]) -> Self {
        let text = object.to_string();
        let mut rest = text.as_str();
        let mut parts = Vec::new();
        let next = |rest: &str| {
            let found = marks.iter().enumerate();
            let found =
                found.filter_map(|(place, mark)| Some((rest.find(mark)?, place, mark.len())));
            found.min()
        };
        while let Some((at, place, length)) = next(rest) {
            let (before, after) = rest.split_at(at);
            parts.push((before.into(), place));
            rest = after.get(length..).unwrap_or_default();
        }
        let end = rest.into();
        Self { parts, end }
    }

    /// The object with these values in its places.
    pub(crate) fn fill(&self, values: [&str; N]) -> Vec<u8> {
        let texts: usize = self.parts.iter().map(|(text, _)| text.len() + 40).sum();
        let mut out = Vec::with_capacity(texts + self.end.len());
        for (text, place) in &self.parts {
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(values.get(*place).copied().unwrap_or_default().as_bytes());
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
    fn places_are_filled_in_any_order() {
        let object = json!({"a": "@x@", "b": ["@y@-@x@", 1]});
        let template = Template::new(&object, ["@x@", "@y@"]);
        let filled: Value = serde_json::from_slice(&template.fill(["1", "2"])).unwrap();
        assert_eq!(filled, json!({"a": "1", "b": ["2-1", 1]}));
    }
}

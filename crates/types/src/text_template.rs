//! A text with placeholders that is cut once and filled in for each of many requests.

/// A text with `N` different placeholders, each of which may occur several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTemplate<const N: usize> {
    /// Each literal text with the index of the placeholder that follows it.
    parts: Vec<(Box<str>, usize)>,
    end: Box<str>,
}

impl<const N: usize> TextTemplate<N> {
    /// Cuts a text at the placeholders. No placeholder may be empty or contain another one.
    #[must_use]
    pub fn new(text: &str, placeholders: [&str; N]) -> Self {
        let mut rest = text;
        let mut parts = Vec::new();
        let next = |rest: &str| {
            let found = placeholders.iter().enumerate();
            found
                .filter(|(_, placeholder)| !placeholder.is_empty())
                .filter_map(|(index, placeholder)| {
                    Some((rest.find(placeholder)?, index, placeholder.len()))
                })
                .min()
        };
        while let Some((at, index, length)) = next(rest) {
            let (before, after) = rest.split_at(at);
            parts.push((before.into(), index));
            rest = after.get(length..).unwrap_or_default();
        }
        let end = rest.into();
        Self { parts, end }
    }

    /// The text with these values in place of the placeholders. In a template of JSON text the
    /// values must be escaped already.
    #[must_use]
    pub fn fill(&self, values: [&str; N]) -> String {
        let value = |index: usize| values.get(index).copied().unwrap_or_default();
        let length: usize = self
            .parts
            .iter()
            .map(|(text, index)| text.len() + value(*index).len())
            .sum();
        let mut out = String::with_capacity(length + self.end.len());
        for (text, index) in &self.parts {
            out.push_str(text);
            out.push_str(value(*index));
        }
        out.push_str(&self.end);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_wherever_they_occur() {
        let template = TextTemplate::new("@x@ and @y@-@x@.", ["@x@", "@y@"]);
        assert_eq!(template.fill(["1", "two"]), "1 and two-1.");
        assert_eq!(TextTemplate::new("plain", ["@x@"]).fill(["1"]), "plain");
    }
}

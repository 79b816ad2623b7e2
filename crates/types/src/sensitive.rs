//! Texts that no log may show.

use std::{fmt, ops::Deref};

/// A token, password or key. Its `Debug` form does not show it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sensitive(String);

impl Deref for Sensitive {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Sensitive {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

#[cfg(test)]
mod tests {
    use super::Sensitive;

    #[test]
    fn the_debug_form_shows_nothing() {
        let token = Sensitive::from("abc");
        assert_eq!(
            (format!("{token:?}").as_str(), &*token),
            ("<hidden>", "abc")
        );
    }
}

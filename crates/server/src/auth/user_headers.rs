//! Headers that name a user: those of impersonation, and those of front proxies.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::user::User;

/// The names of the headers, which are compared without regard to case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserHeaders {
    pub name: &'static str,
    /// One header for each group.
    pub group: &'static str,
    pub uid: &'static str,
    /// What precedes a key of [`User::extra`].
    pub extra_prefix: &'static str,
}

/// A header that is no UTF-8. Read in another way, it would name another user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undecodable(String);

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the header {:?} is not valid UTF-8", self.0)
    }
}

impl UserHeaders {
    /// The user that the headers name, without the groups that they imply.
    ///
    /// # Errors
    /// The header that cannot be decoded.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Result<User, Undecodable> {
        let first = |name: &str| {
            let value = headers.get(name);
            value.map_or_else(|| Ok(String::new()), |value| text(name, value))
        };
        let groups = headers.get_all(self.group).iter();
        let groups = groups.map(|value| text(self.group, value));
        let mut user = User {
            name: first(self.name)?,
            groups: groups.collect::<Result<_, _>>()?,
            uid: first(self.uid)?,
            ..User::default()
        };
        for (name, value) in headers {
            if let Some(key) = self.extra_key(name) {
                let key = percent_decode_str(key).decode_utf8();
                let key = key.map_err(|_| Undecodable(name.as_str().to_owned()))?;
                let values = user.extra.entry(key.to_ascii_lowercase()).or_default();
                values.push(text(name.as_str(), value)?);
            }
        }
        Ok(user)
    }

    /// Removes the headers.
    pub(crate) fn remove(&self, headers: &mut HeaderMap) {
        for name in [self.name, self.group, self.uid] {
            headers.remove(name);
        }
        let extra: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.extra_key(name).is_some())
            .cloned()
            .collect();
        for name in extra {
            headers.remove(name);
        }
    }

    /// The key of an extra value, as the header has it.
    fn extra_key<'a>(&self, name: &'a HeaderName) -> Option<&'a str> {
        let (prefix, key) = name.as_str().split_at_checked(self.extra_prefix.len())?;
        prefix
            .eq_ignore_ascii_case(self.extra_prefix)
            .then_some(key)
    }
}

fn text(name: &str, value: &HeaderValue) -> Result<String, Undecodable> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned)
        .map_err(|_| Undecodable(name.to_owned()))
}

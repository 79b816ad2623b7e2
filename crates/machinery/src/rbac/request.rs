//! What rules are compared with, and where the index has the rules to compare.

use std::borrow::Cow;

use pandaemon_types::hash::fnv1a_64;

/// Everything: all verbs, groups, resources or paths.
pub(super) const ALL: &str = "*";

/// The key of a verb on a resource, or on objects of one name, in the index of rules. Different
/// ones may have the same key.
pub(super) fn key(verb: &str, group: &str, resource: &str, name: Option<&str>) -> u64 {
    let end = name.map(|name| [b"\0", name.as_bytes()]);
    let parts = [verb, "\0", group, "\0", resource].map(str::as_bytes);
    fnv1a_64(parts.into_iter().chain(end.into_iter().flatten()))
}

/// The key of a verb on paths. No resource is called so.
pub(super) fn key_of_paths(verb: &str) -> u64 {
    key(verb, "", "/", None)
}

/// What a user wants to do (upstream's `authorizer.Attributes`).
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub(super) verb: &'a str,
    pub(super) target: Target<'a>,
}

#[derive(Debug, Clone)]
pub(super) enum Target<'a> {
    Resource {
        api_group: &'a str,
        /// The resource, with its subresource: `pods/log`.
        resource: Cow<'a, str>,
        /// The subresource of any resource: `*/log`.
        of_any: Option<String>,
        name: &'a str,
    },
    Path(&'a str),
}

impl<'a> Request<'a> {
    /// A request for a resource. Subresource and name are empty if it has none.
    #[must_use]
    pub fn for_resource(
        verb: &'a str,
        api_group: &'a str,
        (resource, subresource): (&'a str, &str),
        name: &'a str,
    ) -> Self {
        let (resource, of_any) = match subresource {
            "" => (Cow::Borrowed(resource), None),
            part => (
                Cow::Owned(format!("{resource}/{part}")),
                Some(format!("*/{part}")),
            ),
        };
        let target = Target::Resource {
            api_group,
            resource,
            of_any,
            name,
        };
        Self { verb, target }
    }

    /// A request for a path that is no resource, such as `/version`.
    #[must_use]
    pub const fn for_path(verb: &'a str, path: &'a str) -> Self {
        let target = Target::Path(path);
        Self { verb, target }
    }

    /// The keys of the rules that may allow it.
    pub(super) fn keys(&self) -> Vec<u64> {
        let verbs = [self.verb, ALL];
        let Target::Resource {
            api_group, name, ..
        } = &self.target
        else {
            return verbs.map(key_of_paths).into();
        };
        let mut keys = Vec::with_capacity(24);
        for verb in verbs {
            for group in [api_group, ALL] {
                for resource in self.resources() {
                    for name in [None, Some(*name)] {
                        keys.push(key(verb, group, resource, name));
                    }
                }
            }
        }
        keys
    }

    /// The names that a rule may have for the resource; none of a path.
    pub(super) fn resources(&self) -> impl Iterator<Item = &str> {
        let (exact, of_any) = match &self.target {
            Target::Path(_) => (None, None),
            Target::Resource {
                resource, of_any, ..
            } => (Some(&**resource), of_any.as_deref()),
        };
        exact.into_iter().flat_map(move |exact| {
            let others = of_any.into_iter().chain([ALL]);
            std::iter::once(exact).chain(others)
        })
    }
}

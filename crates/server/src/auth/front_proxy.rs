//! Front proxies: who has a certificate of their CA names the user of a request in headers.
//! Upstream: `authentication/request/headerrequest`.

use http::HeaderMap;

use super::{user::User, user_headers::UserHeaders};

/// The common names of certificates of front proxies. Upstream: `--requestheader-allowed-names`,
/// with the value of kubeadm.
pub(crate) const ALLOWED_NAMES: [&str; 1] = ["front-proxy-client"];

/// The headers that name the user. Upstream: `--requestheader-username-headers` and others, with
/// the values of kubeadm.
pub(crate) const HEADERS: UserHeaders = UserHeaders {
    name: "X-Remote-User",
    group: "X-Remote-Group",
    uid: "X-Remote-Uid",
    extra_prefix: "X-Remote-Extra-",
};

/// The user that a front proxy with this common name in its certificate names; `None` if it names
/// none, or is not one of [`ALLOWED_NAMES`].
pub(crate) fn user(proxy: &str, headers: &HeaderMap) -> Option<User> {
    if !ALLOWED_NAMES.contains(&proxy) {
        tracing::debug!(proxy, "refused a front proxy: its name is not allowed");
        return None;
    }
    let named = HEADERS.user(headers);
    let user = named.inspect_err(|why| tracing::debug!(proxy, %why, "refused a front proxy"));
    let mut user = user.ok().filter(|user| !user.name.is_empty())?;
    user.groups.retain(|group| !group.is_empty());
    user.add_authenticated();
    Some(user)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
        let pairs = lines.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value).unwrap())
        });
        pairs.collect()
    }

    /// The groups of the user.
    fn groups(lines: &[(&str, &[u8])]) -> Option<String> {
        let user = user("front-proxy-client", &headers(lines));
        user.map(|user| user.groups.join(" "))
    }

    #[test]
    fn headers_name_a_user_with_groups_uid_and_extra_values() {
        let headers = headers(&[
            ("X-Remote-User", b"bob"),
            ("x-remote-user", b"eve"),
            ("X-REMOTE-GROUP", b"dev"),
            ("X-Remote-Group", b""),
            ("X-Remote-Group", b"ops"),
            ("X-Remote-Uid", b"u-1"),
            ("X-Remote-Extra-Example.com%2fteam", b"red"),
            ("X-Remote-Extra-Example.com%2fteam", b"blue"),
            ("X-Remote-Extras", b"x"),
        ]);
        let user = user("front-proxy-client", &headers).unwrap();
        assert_eq!((&*user.name, &*user.uid), ("bob", "u-1"));
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["example.com/team"], ["red", "blue"]);
        assert_eq!(user.extra.len(), 1);
        for other in ["", "Front-Proxy-Client", "system:masters"] {
            assert_eq!(super::user(other, &headers), None, "{other}");
        }
    }

    #[test]
    fn who_names_no_user_is_nobody() {
        assert_eq!(groups(&[]), None);
        assert_eq!(groups(&[("x-remote-group", b"system:masters")]), None);
        assert_eq!(groups(&[("x-remote-user", b"")]), None);
        assert_eq!(groups(&[("x-remote-user", b"b\xff")]), None);
        let undecodable: [(&str, &[u8]); 2] =
            [("x-remote-user", b"bob"), ("x-remote-group", b"\xff")];
        assert_eq!(groups(&undecodable), None);
    }

    #[test]
    fn the_group_of_all_known_users_is_added_as_upstream_does() {
        let table: [(&[u8], &[u8], &str); 4] = [
            (b"bob", b"", "system:authenticated"),
            (b"bob", b"system:authenticated", "system:authenticated"),
            (b"bob", b"system:unauthenticated", "system:unauthenticated"),
            (b"system:anonymous", b"", ""),
        ];
        for (name, group, expected) in table {
            let found = groups(&[("x-remote-user", name), ("x-remote-group", group)]);
            assert_eq!(found.as_deref(), Some(expected), "{name:?} {group:?}");
        }
    }

    #[test]
    fn the_headers_are_removed_and_no_others() {
        let mut headers = headers(&[
            ("x-remote-user", b"bob"),
            ("x-remote-group", b"a"),
            ("x-remote-group", b"b"),
            ("x-remote-uid", b"u"),
            ("x-remote-extra-a", b"1"),
            ("x-remote-extra-", b"2"),
            ("x-remote-extras", b"kept"),
            ("accept", b"kept"),
        ]);
        HEADERS.remove(&mut headers);
        assert!(headers.values().all(|value| value == "kept"), "{headers:?}");
        assert_eq!(headers.len(), 2);
    }
}

//! Impersonation (`kubectl --as`): a user acts as another, if it may `impersonate` that user.
//! Upstream: `k8s.io/apiserver/pkg/endpoints/filters/impersonation.go`.

use http::HeaderMap;
use pandaemon_machinery::{Status, status::Result};

use super::{
    attributes::Attributes,
    authorizer::AuthorizerChain,
    service_account,
    user::{ANONYMOUS, UNAUTHENTICATED, User},
    user_headers::UserHeaders,
};

/// The headers that name the user.
const HEADERS: UserHeaders = UserHeaders {
    name: "impersonate-user",
    group: "impersonate-group",
    uid: "impersonate-uid",
    extra_prefix: "impersonate-extra-",
};
/// The group of UIDs and extra values.
const GROUP: &str = "authentication.k8s.io";
const VERSION: &str = "v1";

/// The user as whom a request is handled: the one that its headers name, else its own.
///
/// # Errors
/// 403 if the user may not impersonate what the headers name, 400 if they name no user or cannot be
/// decoded.
pub(crate) async fn impersonate(
    user: User,
    headers: &HeaderMap,
    authorizers: &AuthorizerChain,
) -> Result<User> {
    let wanted = requested(headers)?;
    if wanted.name.is_empty() {
        return match wanted == User::default() {
            true => Ok(user),
            false => Err(no_user(&wanted)),
        };
    }
    authorize(&user, &wanted, authorizers).await?;
    Ok(completed(wanted))
}

/// The user that the headers name, without the groups that they imply.
pub(crate) fn requested(headers: &HeaderMap) -> Result<User> {
    HEADERS
        .user(headers)
        .map_err(|why| Status::bad_request(why.to_string()))
}

/// Checks that the user may impersonate the name, each group, each extra value and the UID.
async fn authorize(user: &User, wanted: &User, authorizers: &AuthorizerChain) -> Result<()> {
    let base = Attributes::new(user, "impersonate");
    let (namespace, resource, name) = match service_account::split_user_name(&wanted.name) {
        Some((namespace, name)) => (namespace, "serviceaccounts", name),
        None => ("", "users", wanted.name.as_str()),
    };
    let mut checks = vec![Attributes {
        namespace,
        resource,
        name,
        ..base
    }];
    checks.extend(wanted.groups.iter().map(|name| Attributes {
        resource: "groups",
        name,
        ..base
    }));
    let base = Attributes {
        api_group: GROUP,
        api_version: VERSION,
        ..base
    };
    checks.extend(extra_pairs(wanted).map(|(subresource, name)| Attributes {
        resource: "userextras",
        subresource,
        name,
        ..base
    }));
    if !wanted.uid.is_empty() {
        checks.push(Attributes {
            resource: "uids",
            name: &wanted.uid,
            ..base
        });
    }
    for attributes in &checks {
        authorizers.check(attributes).await?;
    }
    Ok(())
}

/// The extra values of a user, each with its key.
fn extra_pairs(user: &User) -> impl Iterator<Item = (&str, &str)> {
    let pairs = user.extra.iter();
    pairs.flat_map(|(key, values)| values.iter().map(|value| (key.as_str(), value.as_str())))
}

/// Adds the groups that a user has without being named.
fn completed(mut user: User) -> User {
    if user.groups.is_empty()
        && let Some((namespace, _)) = service_account::split_user_name(&user.name)
    {
        user.groups = service_account::groups(namespace).into();
    }
    if user.name == ANONYMOUS && !user.is_in(UNAUTHENTICATED) {
        user.groups.push(UNAUTHENTICATED.into());
    }
    user.add_authenticated();
    user
}

/// The status of headers that name groups, extra values or a UID, but no user. As Go prints a
/// list of `ObjectReference`. Upstream has code 400 since 1.34, and 500 before.
fn no_user(wanted: &User) -> Box<Status> {
    let groups = wanted.groups.iter();
    let mut shown: Vec<String> = groups
        .map(|name| format!("{{Group  {name}    }}"))
        .collect();
    let version = format!("{GROUP}/{VERSION}");
    let extra = extra_pairs(wanted);
    shown.extend(extra.map(|(key, value)| format!("{{UserExtra  {value}  {version}  {key}}}")));
    if !wanted.uid.is_empty() {
        shown.push(format!("{{UID  {}  {version}  }}", wanted.uid));
    }
    Status::bad_request(format!(
        "requested [{}] without impersonating a user",
        shown.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderName, HeaderValue};
    use parking_lot::Mutex;

    use super::*;
    use crate::auth::{Authorizer, Decision, DecisionFuture};

    /// Records what it is asked, and refuses one resource.
    #[derive(Debug, Default)]
    struct Recorder {
        asked: Mutex<Vec<String>>,
        refused: &'static str,
    }

    impl Authorizer for Recorder {
        fn authorize<'a>(&'a self, a: &'a Attributes<'_>) -> DecisionFuture<'a> {
            assert!(a.verb == "impersonate" && a.user.name == "eve" && a.is_resource_request);
            let group = format!("{}/{}", a.api_group, a.api_version);
            let (resource, part) = (a.resource, a.subresource);
            let asked = format!("{group} {resource}/{part} {}/{}", a.namespace, a.name);
            self.asked.lock().push(asked);
            match resource == self.refused {
                true => Decision::NO_OPINION.into(),
                false => Decision::ALLOW.into(),
            }
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = lines.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    async fn acting_as(lines: &[(&'static str, &str)]) -> (Result<User>, Vec<String>) {
        refusing("", lines).await
    }

    async fn refusing(
        refused: &'static str,
        lines: &[(&'static str, &str)],
    ) -> (Result<User>, Vec<String>) {
        let recorder = Arc::new(Recorder {
            refused,
            ..Recorder::default()
        });
        let chain = AuthorizerChain::new(vec![Arc::clone(&recorder) as _]);
        let user = impersonate(User::known("eve", &[]), &headers(lines), &chain).await;
        let asked = recorder.asked.lock().clone();
        (user, asked)
    }

    #[tokio::test]
    async fn each_thing_is_asked_for_in_the_order_of_upstream() {
        let (user, asked) = acting_as(&[
            ("impersonate-uid", "u-1"),
            ("impersonate-extra-example.com%2fteam", "red"),
            ("impersonate-extra-example.com%2fteam", "blue"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-user", "j\u{fc}rgen"),
        ])
        .await;
        let expected = [
            "/ users/ /j\u{fc}rgen",
            "/ groups/ /dev",
            "/ groups/ /ops",
            "authentication.k8s.io/v1 userextras/example.com/team /red",
            "authentication.k8s.io/v1 userextras/example.com/team /blue",
            "authentication.k8s.io/v1 uids/ /u-1",
        ];
        assert_eq!(asked, expected);
        let user = user.unwrap();
        assert_eq!((&*user.name, &*user.uid), ("j\u{fc}rgen", "u-1"));
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["example.com/team"], ["red", "blue"]);
    }

    #[tokio::test]
    async fn groups_that_are_not_named_follow_from_the_user_name() {
        let account = "system:serviceaccount:d:builder";
        let table: [(&[&str], &[&str]); 6] = [
            (&["bob"], &["system:authenticated"]),
            (&["system:anonymous"], &["system:unauthenticated"]),
            (
                &["bob", "system:unauthenticated"],
                &["system:unauthenticated"],
            ),
            (
                &[account],
                &[
                    "system:serviceaccounts",
                    "system:serviceaccounts:d",
                    "system:authenticated",
                ],
            ),
            (&[account, "dev"], &["dev", "system:authenticated"]),
            (&["system:serviceaccount:d:a:b"], &["system:authenticated"]),
        ];
        for (given, expected) in table {
            let mut lines = vec![("impersonate-user", given[0])];
            lines.extend(given[1..].iter().map(|group| ("impersonate-group", *group)));
            let (user, _) = acting_as(&lines).await;
            assert_eq!(user.unwrap().groups, expected, "{given:?}");
        }
        let (_, asked) = acting_as(&[("impersonate-user", account)]).await;
        assert_eq!(asked, ["/ serviceaccounts/ d/builder"]);
    }

    #[tokio::test]
    async fn refusals_have_the_texts_of_upstream() {
        let account = ("impersonate-user", "system:serviceaccount:d:builder");
        let lines = [
            account,
            ("impersonate-group", "dev"),
            ("impersonate-extra-team", "red"),
            ("impersonate-uid", "u-1"),
        ];
        let table = [
            (
                "serviceaccounts",
                "serviceaccounts \"builder\" is forbidden: User \"eve\" cannot impersonate resource \
                 \"serviceaccounts\" in API group \"\" in the namespace \"d\"",
            ),
            (
                "groups",
                "groups \"dev\" is forbidden: User \"eve\" cannot impersonate resource \"groups\" in API \
                 group \"\" at the cluster scope",
            ),
            (
                "userextras",
                "userextras.authentication.k8s.io \"red\" is forbidden: User \"eve\" cannot impersonate \
                 resource \"userextras/team\" in API group \"authentication.k8s.io\" at the cluster scope",
            ),
            (
                "uids",
                "uids.authentication.k8s.io \"u-1\" is forbidden: User \"eve\" cannot impersonate resource \
                 \"uids\" in API group \"authentication.k8s.io\" at the cluster scope",
            ),
        ];
        for (refused, expected) in table {
            let status = refusing(refused, &lines).await.0.unwrap_err();
            assert_eq!((status.code, &*status.message), (403, expected));
        }
        let (status, asked) = acting_as(&lines[1..]).await;
        let (status, expected) = (
            status.unwrap_err(),
            "requested [{Group  dev    } {UserExtra  red  authentication.k8s.io/v1  team} \
             {UID  u-1  authentication.k8s.io/v1  }] without impersonating a user",
        );
        assert_eq!((status.code, &*status.message), (400, expected));
        assert!(asked.is_empty());
        assert_eq!(acting_as(&[]).await.0.unwrap().name, "eve");
    }

    #[tokio::test]
    async fn headers_that_cannot_be_decoded_are_refused() {
        let chain = AuthorizerChain::new(vec![Arc::new(Recorder::default())]);
        let table: [(&'static str, &[u8]); 5] = [
            ("impersonate-user", b"b\xff"),
            ("impersonate-group", b"\xff"),
            ("impersonate-uid", b"\xff"),
            ("impersonate-extra-team", b"\xff"),
            ("impersonate-extra-%ff", b"red"),
        ];
        for (name, value) in table {
            let mut headers = HeaderMap::new();
            headers.insert("impersonate-user", HeaderValue::from_static("bob"));
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.insert(HeaderName::from_static(name), value);
            let user = impersonate(User::known("eve", &[]), &headers, &chain).await;
            let status = user.unwrap_err();
            let expected = format!("the header {name:?} is not valid UTF-8");
            assert_eq!((status.code, status.message), (400, expected));
        }
    }
}

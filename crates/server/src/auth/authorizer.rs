//! Authorization: whether a user may do something. Upstream: `k8s.io/apiserver/pkg/authorization`.

use std::{borrow::Cow, collections::HashSet, fmt::Debug, sync::Arc};

use futures::future::{BoxFuture, Either, Ready, ready};
use pandaemon_machinery::{
    Status,
    rbac::Resolved,
    status::{Details, Result},
};

use super::{
    attributes::Attributes,
    authenticator::unauthorized,
    user::{UNAUTHENTICATED, User},
};

/// Why an authorizer decides so; empty for no reason.
type Reason = Cow<'static, str>;

/// The decision of an authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The user may. No other authorizer is asked.
    Allow(Reason),
    /// The user may not. No other authorizer is asked.
    Deny(Reason),
    /// The next authorizer decides. If all have no opinion, the user may not.
    NoOpinion(Reason),
}

impl Decision {
    /// Allows without a reason.
    pub const ALLOW: Self = Self::Allow(Cow::Borrowed(""));
    /// No opinion without a reason.
    pub const NO_OPINION: Self = Self::NoOpinion(Cow::Borrowed(""));

    /// [`Decision::ALLOW`], or else [`Decision::NO_OPINION`].
    pub(crate) const fn allow_if(may: bool) -> Self {
        if may { Self::ALLOW } else { Self::NO_OPINION }
    }
}

/// A decision that is known at once (`decision.into()`), or the future of one. Only the latter is
/// allocated.
pub type DecisionFuture<'a> = Either<Ready<Decision>, BoxFuture<'a, Decision>>;

impl From<Decision> for DecisionFuture<'_> {
    fn from(decision: Decision) -> Self {
        Either::Left(ready(decision))
    }
}

/// The rules by which a user may do things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserRules {
    /// The rules, and errors of those that could not be found.
    pub resolved: Resolved,
    /// Whether the user may do more than the rules say.
    pub is_incomplete: bool,
}

/// Decides whether users may do things. Upstream: `authorizer.Authorizer`.
pub trait Authorizer: Debug + Send + Sync {
    /// Decides about one request.
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a>;

    /// The rules by which it allows a user things in a namespace, which is empty for the whole
    /// cluster. An authorizer that does not write this has no rules, and may allow more.
    /// Upstream: `authorizer.RuleResolver`.
    fn rules_for(&self, _user: &User, _namespace: &str) -> UserRules {
        UserRules {
            is_incomplete: true,
            ..UserRules::default()
        }
    }
}

/// An ordered list of authorizers: the first that allows or denies decides. Clones share it.
/// Upstream: `authorization/union`.
#[derive(Debug, Clone)]
pub(crate) struct AuthorizerChain(Arc<[Arc<dyn Authorizer>]>);

impl AuthorizerChain {
    /// A chain of these authorizers, in the order in which they are asked.
    #[must_use]
    pub(crate) fn new(authorizers: Vec<Arc<dyn Authorizer>>) -> Self {
        Self(authorizers.into())
    }

    /// The decision of the first authorizer with an opinion, else no opinion with the reasons of
    /// all.
    pub(crate) async fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let mut reasons = String::new();
        for authorizer in &*self.0 {
            let reason = match authorizer.authorize(attributes).await {
                Decision::NoOpinion(reason) => reason,
                decided => return decided,
            };
            if !reason.is_empty() && !reasons.is_empty() {
                reasons.push('\n');
            }
            reasons.push_str(&reason);
        }
        Decision::NoOpinion(reasons.into())
    }

    /// Whether somebody may do something.
    pub(crate) async fn allows(&self, attributes: &Attributes<'_>) -> bool {
        matches!(self.decide(attributes).await, Decision::Allow(_))
    }

    /// The rules of a user in a namespace, by all authorizers.
    pub(crate) fn rules_for(&self, user: &User, namespace: &str) -> UserRules {
        let mut all = UserRules::default();
        let mut seen = HashSet::new();
        for authorizer in &*self.0 {
            let UserRules {
                resolved,
                is_incomplete,
            } = authorizer.rules_for(user, namespace);
            for rule in resolved.rules {
                // Members of `system:masters` usually have a role, too, that says the same.
                if seen.insert(rule.clone()) {
                    all.resolved.rules.push(rule);
                }
            }
            all.resolved.errors.extend(resolved.errors);
            all.is_incomplete |= is_incomplete;
        }
        all
    }

    /// Refuses what is not allowed.
    ///
    /// # Errors
    /// 403 with the reason.
    pub(crate) async fn check(&self, attributes: &Attributes<'_>) -> Result<()> {
        check(attributes, &self.decide(attributes).await)
    }
}

fn check(attributes: &Attributes<'_>, decision: &Decision) -> Result<()> {
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(forbidden(attributes, reason)),
    }
}

/// Refuses a request that is not allowed.
///
/// # Errors
/// 401 for a user without credentials, 403 with the reason for any other.
pub(crate) fn check_request(attributes: &Attributes<'_>, decision: &Decision) -> Result<()> {
    let checked = check(attributes, decision);
    match attributes.user.is_in(UNAUTHENTICATED) {
        true => checked.map_err(|_| unauthorized()),
        false => checked,
    }
}

/// The status of a refused request (403). Upstream: `responsewriters.ForbiddenStatusError`.
fn forbidden(attributes: &Attributes<'_>, reason: &str) -> Box<Status> {
    let (user, verb) = (&attributes.user.name, attributes.verb);
    let suffix = match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let (group, resource) = (attributes.api_group, attributes.resource);
    if !attributes.is_resource_request {
        let path = attributes.path;
        let text = format!("forbidden: User {user:?} cannot {verb} path {path:?}{suffix}");
        return Status::failure(403, "Forbidden", text);
    }
    let full = match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    };
    let part = match attributes.subresource {
        "" => resource.to_owned(),
        subresource => format!("{resource}/{subresource}"),
    };
    let place = match attributes.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let name = match attributes.name {
        "" => String::new(),
        name => format!(" {name:?}"),
    };
    let text = format!(
        "{full}{name} is forbidden: User {user:?} cannot {verb} resource {part:?} in API group {group:?} \
         {place}{suffix}"
    );
    Status::failure(403, "Forbidden", text).with_details(Details {
        name: attributes.name.to_owned(),
        group: group.to_owned(),
        kind: resource.to_owned(),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::{auth::User, http::request::parse_path};

    #[derive(Debug)]
    struct Always(Decision);

    impl Authorizer for Always {
        fn authorize<'a>(&'a self, _: &'a Attributes<'_>) -> DecisionFuture<'a> {
            Either::Right(Box::pin(async {
                tokio::task::yield_now().await;
                self.0.clone()
            }))
        }
    }

    fn chain(decisions: impl IntoIterator<Item = Decision>) -> AuthorizerChain {
        let authorizers = decisions
            .into_iter()
            .map(|decision| Arc::new(Always(decision)) as Arc<dyn Authorizer>);
        AuthorizerChain::new(authorizers.collect())
    }

    #[tokio::test]
    async fn the_first_authorizer_with_an_opinion_decides() {
        let (allow, deny) = (Decision::Allow("a".into()), Decision::Deny("d".into()));
        let unsure = |why: &'static str| Decision::NoOpinion(why.into());
        let table = [
            (vec![], unsure("")),
            (vec![unsure(""), unsure("")], unsure("")),
            (vec![unsure("x"), unsure(""), unsure("y")], unsure("x\ny")),
            (
                vec![unsure("x"), allow.clone(), deny.clone()],
                allow.clone(),
            ),
            (vec![unsure("x"), deny.clone(), allow], deny),
        ];
        let user = User::known("bob", &[]);
        for (decisions, expected) in table {
            let found = chain(decisions)
                .decide(&Attributes::new(&user, "use"))
                .await;
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_decision_that_is_known_needs_no_allocation() {
        let future = DecisionFuture::from(Decision::ALLOW);
        assert!(matches!(future, Either::Left(_)));
        assert_eq!(future.now_or_never(), Some(Decision::ALLOW));
    }

    #[tokio::test]
    async fn forbidden_messages_match_upstream() {
        let table = [
            (
                "get",
                "/api/v1/namespaces/d/pods/p/log",
                "",
                "pods \"p\" is forbidden: User \"bob\" cannot get resource \"pods/log\" in API group \"\" \
                 in the namespace \"d\"",
            ),
            (
                "list",
                "/apis/apps/v1/daemonsets",
                "not today",
                "daemonsets.apps is forbidden: User \"bob\" cannot list resource \"daemonsets\" in API group \
                 \"apps\" at the cluster scope: not today",
            ),
            (
                "get",
                "/api/v1/namespaces/d",
                "",
                "namespaces \"d\" is forbidden: User \"bob\" cannot get resource \"namespaces\" in API group \
                 \"\" in the namespace \"d\"",
            ),
            (
                "get",
                "/metrics",
                "",
                "forbidden: User \"bob\" cannot get path \"/metrics\"",
            ),
            (
                "post",
                "/metrics",
                "not today",
                "forbidden: User \"bob\" cannot post path \"/metrics\": not today",
            ),
        ];
        let bob = User::known("bob", &[]);
        for (verb, path, reason, expected) in table {
            let target = parse_path(path);
            let attributes = Attributes::of_request(&bob, verb, &target, path, None);
            for decision in [
                Decision::Deny(reason.into()),
                Decision::NoOpinion(reason.into()),
            ] {
                let refusal = check_request(&attributes, &decision);
                assert_eq!(refusal.unwrap_err().message, expected);
            }
        }
    }
}

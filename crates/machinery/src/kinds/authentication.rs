//! `authentication.k8s.io`: reviews, which are answered and not stored, and the body of
//! `serviceaccounts/token`.

use serde_json::Value;

use super::{kind, names};
use crate::{
    Kind, Scope, Strategy, defaults,
    validation::{ErrorList, simple},
};

pub(super) fn self_subject_review() -> Kind {
    kind!(
        "authentication", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview",
        group: "authentication.k8s.io".into(),
        storage: "authentication.k8s.io/selfsubjectreviews".into(),
        scope: Scope::Cluster,
        verbs: names!["create"],
    )
}

pub(super) fn token_review() -> Kind {
    kind!(
        "authentication", "TokenReview", "tokenreviews", "tokenreview",
        group: "authentication.k8s.io".into(),
        storage: "authentication.k8s.io/tokenreviews".into(),
        scope: Scope::Cluster,
        verbs: names!["create"],
        strategy: Box::new(TokenReviewStrategy),
    )
}

#[derive(Debug)]
struct TokenReviewStrategy;

impl Strategy for TokenReviewStrategy {
    fn holds_secrets(&self, _subresource: &str) -> bool {
        true
    }
}

pub(super) fn token_request() -> Kind {
    kind!(
        "authentication", "TokenRequest", "tokenrequests", "tokenrequest",
        group: "authentication.k8s.io".into(),
        verbs: names!["create"],
        strategy: Box::new(TokenRequestStrategy),
    )
}

#[derive(Debug)]
struct TokenRequestStrategy;

impl Strategy for TokenRequestStrategy {
    fn holds_secrets(&self, _subresource: &str) -> bool {
        true
    }

    fn set_defaults(&self, request: &mut Value) {
        if request["spec"].is_object() {
            defaults::set(&mut request["spec"], "expirationSeconds", 3600);
        }
    }

    fn validate(&self, _: &Kind, request: &Value, errors: &mut ErrorList) {
        simple::token_request(request, errors);
    }
}

//! `authentication.k8s.io`: reviews, which are answered and not stored.

use super::{kind, names};
use crate::{Kind, Scope, Strategy};

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

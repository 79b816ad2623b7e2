//! `authentication.k8s.io`: reviews, which are answered and not stored, and the body of
//! `serviceaccounts/token`.

use super::{CREATE, kind};
use crate::{Kind, Scope};

pub(super) static SELF_SUBJECT_REVIEW: Kind = kind!(
    "authentication", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview",
    group: "authentication.k8s.io",
    storage: "authentication.k8s.io/selfsubjectreviews",
    scope: Scope::Cluster,
    verbs: CREATE,
);

pub(super) static TOKEN_REVIEW: Kind = kind!(
    "authentication", "TokenReview", "tokenreviews", "tokenreview",
    group: "authentication.k8s.io",
    storage: "authentication.k8s.io/tokenreviews",
    scope: Scope::Cluster,
    verbs: CREATE,
);

pub(super) static TOKEN_REQUEST: Kind = kind!(
    "authentication", "TokenRequest", "tokenrequests", "tokenrequest",
    group: "authentication.k8s.io",
    verbs: CREATE,
);

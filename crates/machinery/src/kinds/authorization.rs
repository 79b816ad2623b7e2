//! `authorization.k8s.io`: reviews, which are answered and not stored.

use super::{CREATE, kind};
use crate::{Kind, Scope};

pub(super) static LOCAL_SUBJECT_ACCESS_REVIEW: Kind = kind!(
    "authorization", "LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview",
    group: "authorization.k8s.io",
    storage: "authorization.k8s.io/localsubjectaccessreviews",
    verbs: CREATE,
);

pub(super) static SELF_SUBJECT_ACCESS_REVIEW: Kind = kind!(
    "authorization", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview",
    group: "authorization.k8s.io",
    storage: "authorization.k8s.io/selfsubjectaccessreviews",
    scope: Scope::Cluster,
    verbs: CREATE,
);

pub(super) static SELF_SUBJECT_RULES_REVIEW: Kind = kind!(
    "authorization", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview",
    group: "authorization.k8s.io",
    storage: "authorization.k8s.io/selfsubjectrulesreviews",
    scope: Scope::Cluster,
    verbs: CREATE,
);

pub(super) static SUBJECT_ACCESS_REVIEW: Kind = kind!(
    "authorization", "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview",
    group: "authorization.k8s.io",
    storage: "authorization.k8s.io/subjectaccessreviews",
    scope: Scope::Cluster,
    verbs: CREATE,
);

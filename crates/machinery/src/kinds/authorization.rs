//! `authorization.k8s.io`: reviews, which are answered and not stored.

use super::{kind, names};
use crate::{Kind, Scope};

pub(super) fn local_subject_access_review() -> Kind {
    kind!(
        "authorization", "LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview",
        group: "authorization.k8s.io".into(),
        storage: "authorization.k8s.io/localsubjectaccessreviews".into(),
        verbs: names!["create"],
    )
}

pub(super) fn self_subject_access_review() -> Kind {
    kind!(
        "authorization", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview",
        group: "authorization.k8s.io".into(),
        storage: "authorization.k8s.io/selfsubjectaccessreviews".into(),
        scope: Scope::Cluster,
        verbs: names!["create"],
    )
}

pub(super) fn self_subject_rules_review() -> Kind {
    kind!(
        "authorization", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview",
        group: "authorization.k8s.io".into(),
        storage: "authorization.k8s.io/selfsubjectrulesreviews".into(),
        scope: Scope::Cluster,
        verbs: names!["create"],
    )
}

pub(super) fn subject_access_review() -> Kind {
    kind!(
        "authorization", "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview",
        group: "authorization.k8s.io".into(),
        storage: "authorization.k8s.io/subjectaccessreviews".into(),
        scope: Scope::Cluster,
        verbs: names!["create"],
    )
}

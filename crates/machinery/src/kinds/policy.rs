//! `policy`: bodies of `pods/eviction`.

use super::{kind, names};
use crate::Kind;

pub(super) fn eviction() -> Kind {
    kind!("policy", "Eviction", "evictions", "eviction",
    group: "policy".into(), verbs: names!["create"])
}

pub(super) fn eviction_v1beta1() -> Kind {
    kind!("policy", "Eviction", "evictions", "eviction",
    group: "policy".into(), version: "v1beta1".into(), verbs: names!["create"])
}

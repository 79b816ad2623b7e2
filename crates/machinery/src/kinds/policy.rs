//! `policy`: bodies of `pods/eviction`.

use super::{CREATE, kind};
use crate::Kind;

pub(super) static EVICTION: Kind = kind!("policy", "Eviction", "evictions", "eviction",
    group: "policy", verbs: CREATE);

pub(super) static EVICTION_V1BETA1: Kind = kind!("policy", "Eviction", "evictions", "eviction",
    group: "policy", version: "v1beta1", verbs: CREATE);

//! Rights by roles. Upstream: `plugin/pkg/auth/authorizer/rbac`.

use std::{fmt, sync::Arc};

use pandaemon_machinery::{
    rbac::{GROUP, Policy, Request},
    scheme,
};
use pandaemon_store::Revision;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde_json::Value;

use crate::{
    auth::{Attributes, Authorizer, Decision, DecisionFuture, User, UserRules},
    cache::{
        object::Object,
        watch_cache::{KindCache, WatchCache},
    },
};

/// Puts an object into the policy, by namespace and name, or removes it.
type Put = fn(&mut Policy, &str, &str, Option<&Value>);

/// The resources that the policy is made of.
const RESOURCES: [(&str, Put); 4] = [
    ("clusterroles", Policy::set_role),
    ("roles", Policy::set_role),
    ("clusterrolebindings", Policy::set_binding),
    ("rolebindings", Policy::set_binding),
];

/// Allows what the roles of a user allow. Its policy is made from the watch cache: a decision first
/// takes in the changes of roles and bindings since the last one, so that it sees every write that
/// was answered, and other writes cost nothing.
pub(super) struct Rbac {
    sources: Vec<(Arc<KindCache>, Put)>,
    state: RwLock<State>,
}

struct State {
    policy: Policy,
    /// The revision of the last change of each source that is in the policy.
    seen: Vec<Revision>,
}

impl fmt::Debug for Rbac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rbac")
    }
}

impl Rbac {
    /// The rights by the roles and bindings of a watch cache.
    pub(super) fn new(cache: &WatchCache) -> Self {
        let sources = RESOURCES.into_iter().filter_map(|(resource, put)| {
            let kind = scheme::built_in().find_resource(GROUP, "v1", resource)?;
            Some((cache.of(kind)?, put))
        });
        let sources: Vec<_> = sources.collect();
        let state = RwLock::new(State::read(&sources));
        Self { sources, state }
    }

    /// The policy with all changes that are visible in the watch cache.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        let state = self.state.read();
        let mut seen = self.sources.iter().zip(&state.seen);
        if seen.all(|((objects, _), seen)| objects.last_changed() == *seen) {
            return state;
        }
        drop(state);
        let mut state = self.state.write();
        state.catch_up(&self.sources);
        RwLockWriteGuard::downgrade(state)
    }
}

impl State {
    /// The policy of all objects.
    fn read(sources: &[(Arc<KindCache>, Put)]) -> Self {
        let mut policy = Policy::default();
        let seen = sources.iter().map(|(objects, put)| {
            let (revision, objects) = objects.snapshot();
            for object in objects.values() {
                put_object(&mut policy, *put, object, true);
            }
            revision
        });
        Self {
            seen: seen.collect(),
            policy,
        }
    }

    /// Takes in what has changed, or everything if the history does not reach back.
    fn catch_up(&mut self, sources: &[(Arc<KindCache>, Put)]) {
        for ((objects, put), seen) in sources.iter().zip(&mut self.seen) {
            let Some((revision, changes)) = objects.changes_after(*seen) else {
                *self = Self::read(sources);
                return;
            };
            for change in &changes {
                if let Some(object) = change.object() {
                    put_object(&mut self.policy, *put, object, change.now.is_some());
                }
            }
            *seen = revision;
        }
    }
}

fn put_object(policy: &mut Policy, put: Put, object: &Object, exists: bool) {
    // An object that cannot be read gives no rights.
    let value = exists.then(|| object.value()).transpose();
    let value = value.inspect_err(|error| tracing::error!(%error, "a role or binding is ignored"));
    let value = value.ok().flatten();
    put(policy, object.namespace(), object.name(), value.as_ref());
}

impl Authorizer for Rbac {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        let verb = attributes.verb;
        let request = match attributes.is_resource_request {
            true => {
                let resource = (attributes.resource, attributes.subresource);
                Request::for_resource(verb, attributes.api_group, resource, attributes.name)
            }
            false => Request::for_path(verb, attributes.path),
        };
        let (who, namespace) = (attributes.user.identity(), attributes.namespace);
        match self.state().policy.decide(who, namespace, &request) {
            Ok(reason) => Decision::Allow(reason.into()).into(),
            Err(reason) => Decision::NoOpinion(reason.into()).into(),
        }
    }

    fn rules_for(&self, user: &User, namespace: &str) -> UserRules {
        UserRules {
            resolved: self.state().policy.rules_for(user.identity(), namespace),
            is_incomplete: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use pandaemon_machinery::Kind;
    use serde_json::json;

    use super::*;
    use crate::cache::fixture;

    fn kind(resource: &str) -> &'static Kind {
        let kind = scheme::built_in().find_resource(GROUP, "v1", resource);
        kind.unwrap()
    }

    /// Puts or deletes an object at the next revision.
    fn change(cache: &WatchCache, resource: &str, namespace: &str, object: Option<&Value>) {
        let revision = cache.revision() + 1;
        fixture::change(cache, kind(resource), revision, (namespace, "x"), object);
    }

    fn may(rbac: &Rbac, namespace: &str) -> bool {
        let user = User::known("bob", &[]);
        let attributes = Attributes {
            namespace,
            resource: "pods",
            ..Attributes::new(&user, "get")
        };
        let decision = rbac.authorize(&attributes).now_or_never();
        matches!(decision, Some(Decision::Allow(_)))
    }

    #[test]
    fn the_policy_follows_the_watch_cache_also_without_its_history() {
        let metadata = json!({"name": "x"});
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        let role = json!({"metadata": metadata, "rules": rules});
        let binding = |kind: &str| {
            json!({"metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": "x"},
            "subjects": [{"kind": "User", "name": "bob"}]})
        };
        for forgets in [false, true] {
            let cache = WatchCache::new(1);
            let forget = || {
                if forgets {
                    cache.forget_history();
                }
            };
            change(&cache, "clusterroles", "", Some(&role));
            let rbac = Rbac::new(&cache);
            assert!(!may(&rbac, "d"));
            change(&cache, "rolebindings", "d", Some(&binding("ClusterRole")));
            forget();
            assert!(may(&rbac, "d") && !may(&rbac, ""));
            change(
                &cache,
                "clusterrolebindings",
                "",
                Some(&binding("ClusterRole")),
            );
            change(&cache, "rolebindings", "d", None);
            forget();
            assert!(may(&rbac, "d") && may(&rbac, ""));
            change(&cache, "clusterroles", "", None);
            forget();
            assert!(!may(&rbac, "d"));
            change(&cache, "roles", "d", Some(&role));
            change(&cache, "rolebindings", "d", Some(&binding("Role")));
            forget();
            assert!(may(&rbac, "d") && !may(&rbac, ""));
        }
    }
}

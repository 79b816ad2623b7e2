//! The ClusterRole aggregation controller: a ClusterRole with an `aggregationRule` has the rules of
//! the ClusterRoles that it selects.
//!
//! Observe: ClusterRoles. Plan: [`aggregated_rules`]. Act: server-side apply of the rules.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_client::{
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, ObjectMeta},
    rest::{Patch, Rest},
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use pandaemon_types::label_selector::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, json};

const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
/// The field manager of the rules, as upstream's.
const MANAGER: &str = "clusterrole-aggregation-controller";
/// Roles that are written at the same time; upstream's default.
const WORKERS: usize = 5;

/// What the controller reads of a ClusterRole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterRole {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Which roles it has the rules of; `None` if its rules are its own.
    pub aggregation_rule: Option<AggregationRule>,
    /// What it allows.
    pub rules: Option<Vec<Value>>,
}

/// The selectors of an aggregated ClusterRole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AggregationRule {
    /// A role that one of them selects is part of it.
    pub cluster_role_selectors: Vec<Value>,
}

impl Object for ClusterRole {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// The rules that an aggregated role should have: those of the roles that it selects, by selector,
/// then by name, each once. `None` if it has them, or is no aggregated role, or a selector is not
/// valid.
#[must_use]
pub fn aggregated_rules(name: &str, roles: &BTreeMap<String, ClusterRole>) -> Option<Vec<Value>> {
    let role = roles.get(name)?;
    let mut rules: Vec<Value> = Vec::new();
    for selector in &role.aggregation_rule.as_ref()?.cluster_role_selectors {
        let selector = match LabelSelector::from_json(selector) {
            Ok(selector) => selector,
            Err(error) => {
                tracing::warn!(role = name, %error, "the selector of an aggregated role is not valid");
                return None;
            }
        };
        let selected = roles
            .iter()
            .filter(|(other, role)| *other != name && selector.matches(&*role.metadata.labels));
        for rule in selected.flat_map(|(_, role)| role.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    (rules.as_slice() != role.rules.as_deref().unwrap_or_default()).then_some(rules)
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, stop: Shutdown) -> anyhow::Result<()> {
    let api = Rest::new(client.clone());
    let mut deltas = watch::<ClusterRole>(client, ListWatch::all(CLUSTER_ROLES), stop.clone());
    let mut roles = BTreeMap::new();
    let mut queue: WorkQueue<String> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'_, (String, bool)>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            delta = deltas.recv() => {
                let Some(delta) = delta else { return Ok(()) };
                observe(&mut roles, delta);
                // Any role may be part of any other, and there are few.
                for name in roles.keys().filter(|name| aggregated_rules(name, &roles).is_some()) {
                    queue.add(name.clone());
                }
            }
            name = queue.next(), if running.len() < WORKERS => {
                let (api, rules) = (&api, aggregated_rules(&name, &roles));
                running.push(async move {
                    let ok = match rules {
                        Some(rules) => apply(api, &name, rules).await,
                        None => true,
                    };
                    (name, ok)
                }.boxed());
            }
            Some((name, ok)) = running.next() => queue.finish(name, ok),
        }
    }
}

fn observe(roles: &mut BTreeMap<String, ClusterRole>, delta: Delta<ClusterRole>) {
    match delta {
        Delta::Listed(items) => {
            let items = items.into_iter();
            *roles = items
                .map(|role| (role.metadata.name.clone(), role))
                .collect();
        }
        Delta::Applied(role) => {
            roles.insert(role.metadata.name.clone(), role);
        }
        Delta::Deleted(role) => {
            let known = roles.get(&role.metadata.name);
            // A later role of the name stays.
            if known.is_some_and(|known| known.metadata.uid == role.metadata.uid) {
                roles.remove(&role.metadata.name);
            }
        }
    }
}

/// Writes the rules of a role. False if that is to be tried again.
async fn apply(api: &Rest, name: &str, rules: Vec<Value>) -> bool {
    let path = format!("{CLUSTER_ROLES}/{name}?fieldManager={MANAGER}&force=true");
    let mut body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": name },
    });
    if !rules.is_empty() {
        body["rules"] = rules.into();
    }
    match api.patch(&path, Patch::Apply, &body).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(role = name, %error, "rules of an aggregated role not written");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn role(name: &str, labels: &[&str], aggregates: &[&str], verbs: &[&str]) -> ClusterRole {
        let labels: BTreeMap<&str, &str> = labels.iter().map(|label| (*label, "true")).collect();
        let selectors = aggregates.iter();
        let selectors: Vec<Value> = selectors
            .map(|label| json!({ "matchLabels": { *label: "true" } }))
            .collect();
        let rules = verbs.iter().map(|verb| json!({ "verbs": [verb] }));
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": labels },
            "aggregationRule": if selectors.is_empty() { Value::Null } else {
                json!({ "clusterRoleSelectors": selectors })
            },
            "rules": rules.collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    fn verbs(rules: &[Value]) -> Vec<&str> {
        rules
            .iter()
            .map(|rule| rule["verbs"][0].as_str().unwrap())
            .collect()
    }

    fn by_name(roles: Vec<ClusterRole>) -> BTreeMap<String, ClusterRole> {
        let roles = roles.into_iter();
        roles
            .map(|role| (role.metadata.name.clone(), role))
            .collect()
    }

    #[test]
    fn an_aggregated_role_has_each_selected_rule_once_by_selector_and_name() {
        let roles = by_name(vec![
            role("sum", &["in", "also"], &["in", "also"], &["old"]),
            role("z", &["in"], &[], &["get", "list"]),
            role("a", &["in"], &[], &["watch", "get"]),
            role("b", &["also"], &[], &["list", "create"]),
            role("other", &[], &[], &["delete"]),
        ]);
        let rules = aggregated_rules("sum", &roles).unwrap();
        assert_eq!(verbs(&rules), ["watch", "get", "list", "create"]);
        assert_eq!(aggregated_rules("a", &roles), None, "its rules are its own");
        assert_eq!(aggregated_rules("absent", &roles), None);
    }

    #[test]
    fn a_role_that_has_its_rules_is_left_alone() {
        let mut roles = by_name(vec![
            role("sum", &[], &["in"], &["get"]),
            role("a", &["in"], &[], &["get"]),
        ]);
        assert_eq!(aggregated_rules("sum", &roles), None);
        roles.remove("a");
        assert_eq!(aggregated_rules("sum", &roles), Some(Vec::new()));
        let sum = roles.get_mut("sum").unwrap();
        sum.rules = None;
        assert_eq!(
            aggregated_rules("sum", &roles),
            None,
            "none is as good as empty"
        );
        let selectors = &mut sum_rule(&mut roles).cluster_role_selectors;
        *selectors = vec![json!({ "matchExpressions": [{ "key": "in", "operator": "Is" }] })];
        assert_eq!(aggregated_rules("sum", &roles), None, "not valid");
    }

    fn sum_rule(roles: &mut BTreeMap<String, ClusterRole>) -> &mut AggregationRule {
        let sum = roles.get_mut("sum").unwrap();
        sum.aggregation_rule.as_mut().unwrap()
    }

    #[test]
    fn the_order_in_which_roles_come_changes_nothing() {
        let all = [
            role("admin", &[], &["to-admin"], &[]),
            role("edit", &["to-admin"], &["to-edit"], &[]),
            role("view", &["to-edit"], &["to-view"], &[]),
            role("of-admin", &["to-admin"], &[], &["bind"]),
            role("of-edit", &["to-edit"], &[], &["create", "get"]),
            role("of-view", &["to-view"], &[], &["get", "list"]),
        ];
        let settled = |order: &[usize]| {
            let rules = settled(&all, order);
            ["admin", "edit", "view"].map(|name| rules[name].clone())
        };
        let orders: [&[usize]; 4] = [
            &[0, 1, 2, 3, 4, 5],
            &[5, 4, 3, 2, 1, 0],
            &[3, 0, 5, 1, 4, 2],
            &[2, 5, 0, 4, 1, 3],
        ];
        let expected = settled(orders[0]);
        assert_eq!(verbs(&expected[0]), ["create", "get", "list", "bind"]);
        for order in orders {
            assert_eq!(settled(order), expected, "{order:?}");
        }
    }

    /// The rules of all roles, which came in this order.
    fn settled(all: &[ClusterRole], order: &[usize]) -> BTreeMap<String, Vec<Value>> {
        let mut roles = BTreeMap::new();
        for at in order {
            observe(&mut roles, Delta::Applied(all[*at].clone()));
            // The writes are seen as events.
            while let Some((name, rules)) = due(&roles) {
                let mut role = roles[&name].clone();
                role.rules = Some(rules);
                observe(&mut roles, Delta::Applied(role));
            }
        }
        let roles = roles.into_iter();
        roles
            .map(|(name, role)| (name, role.rules.unwrap_or_default()))
            .collect()
    }

    /// How many roles a property has.
    const ROLES: usize = 7;

    /// Roles of which each may be part of those after it.
    fn roles() -> impl Strategy<Value = Vec<ClusterRole>> {
        let one = || {
            let verbs = prop::sample::subsequence(vec!["get", "list", "create", "bind"], 0..4);
            (any::<u8>(), any::<bool>(), verbs)
        };
        prop::collection::vec(one(), ROLES).prop_map(|all| {
            let roles = all.into_iter().enumerate();
            roles
                .map(|(at, (parts, is_sum, verbs))| {
                    let label = |of: usize| format!("to-{of}");
                    let later = (at + 1..ROLES).filter(|of| parts & (1 << of) != 0);
                    let labels: Vec<String> = later.map(label).collect();
                    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                    let own = label(at);
                    let aggregates: &[&str] = if is_sum { &[&own] } else { &[] };
                    role(&format!("r{at}"), &labels, aggregates, &verbs)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn aggregation_is_free_of_order(
            all in roles(),
            order in Just((0..ROLES).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let forward: Vec<usize> = (0..ROLES).collect();
            prop_assert_eq!(settled(&all, &order), settled(&all, &forward));
        }
    }

    fn due(roles: &BTreeMap<String, ClusterRole>) -> Option<(String, Vec<Value>)> {
        let mut names = roles.keys();
        names.find_map(|name| Some((name.clone(), aggregated_rules(name, roles)?)))
    }
}

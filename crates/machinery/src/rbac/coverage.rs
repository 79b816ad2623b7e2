//! Whether rules contain others: nobody may give rights away that it does not have.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{
    binding::Identity,
    policy::Resolved,
    request::ALL,
    rule::{COMBINATIONS_MAX, PolicyRule, has, matches, quoted},
};
use crate::{bounds::Texts, go_text::quote};

/// Checks that rules which a user gives to others are among those that it has. Upstream:
/// `ConfirmNoEscalation`.
///
/// # Errors
/// The text of the refusal.
pub fn confirm_no_escalation(
    who: Identity<'_>,
    held: &Resolved,
    given: &[PolicyRule],
) -> Result<(), String> {
    let missing = not_covered(&held.rules, given);
    if missing.is_empty() {
        return Ok(());
    }
    let missing = compact(missing).into_iter().map(|rule| rule.to_string());
    let missing: BTreeSet<String> = missing.collect();
    let mut shown = Texts::default();
    missing.iter().for_each(|rule| shown.add(rule));
    let omitted = shown.omitted();
    let mut missing = shown.into_vec();
    if omitted > 0 {
        missing.push(format!("and {omitted} more"));
    }
    let errors = match held.errors.as_slice() {
        [] => String::new(),
        [one] => format!("; resolution errors: [{one}]"),
        many => format!("; resolution errors: [[{}]]", many.join(", ")),
    };
    Err(format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}{errors}",
        quote(who.name),
        quoted(who.groups),
        missing.join("\n"),
    ))
}

/// The rules of somebody who may do everything.
#[must_use]
pub fn full_authority() -> Vec<PolicyRule> {
    let all = || vec![ALL.to_owned()];
    let resources = PolicyRule {
        verbs: all(),
        api_groups: all(),
        resources: all(),
        ..PolicyRule::default()
    };
    let paths = PolicyRule {
        verbs: all(),
        non_resource_urls: all(),
        ..PolicyRule::default()
    };
    vec![resources, paths]
}

/// Most comparisons of parts with held rules; real roles need a thousandth. What is not compared
/// counts as not held.
const COMPARISONS_MAX: usize = 10_000_000;

/// The parts of rules that others do not contain (upstream's `Covers`).
pub(crate) fn not_covered(owned: &[PolicyRule], given: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut left = PARTS_MAX;
    let parts = given.iter().flat_map(|rule| {
        let parts = parts(rule, left);
        left = left.saturating_sub(parts.len());
        parts
    });
    let mut comparisons = COMPARISONS_MAX;
    parts
        .filter(|part| {
            if comparisons == 0 {
                return true;
            }
            let by = owned.iter().position(|rule| covers(rule, part));
            let compared = by.map_or(owned.len(), |at| at + 1);
            comparisons = comparisons.saturating_sub(compared);
            by.is_none()
        })
        .collect()
}

/// A rule as rules of one verb and one resource or path each (upstream's `BreakdownRule`). One with
/// very many, or with more than there is room for, stays whole, and one held rule has to contain
/// it.
fn parts(rule: &PolicyRule, room: usize) -> Vec<PolicyRule> {
    if rule.combinations() > COMBINATIONS_MAX.min(room) {
        return vec![rule.clone()];
    }
    let one = |text: &String| vec![text.clone()];
    let mut parts = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let part = PolicyRule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    ..PolicyRule::default()
                };
                if rule.resource_names.is_empty() {
                    parts.push(part);
                    continue;
                }
                parts.extend(rule.resource_names.iter().map(|name| PolicyRule {
                    resource_names: one(name),
                    ..part.clone()
                }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        parts.extend(rule.verbs.iter().map(|verb| PolicyRule {
            verbs: one(verb),
            non_resource_urls: one(url),
            ..PolicyRule::default()
        }));
    }
    parts
}

/// Whether a rule contains a part of one (upstream's `ruleCovers`).
fn covers(rule: &PolicyRule, part: &PolicyRule) -> bool {
    let names = &rule.resource_names;
    part.verbs.iter().all(|verb| has(&rule.verbs, verb))
        && part
            .api_groups
            .iter()
            .all(|group| has(&rule.api_groups, group))
        && part
            .resources
            .iter()
            .all(|resource| covers_resource(rule, resource))
        && part.non_resource_urls.iter().all(|url| {
            let mut owned = rule.non_resource_urls.iter();
            owned.any(|owned| matches(owned, url))
        })
        && match part.resource_names.as_slice() {
            [] => names.is_empty(),
            wanted => names.is_empty() || wanted.iter().all(|name| names.contains(name)),
        }
}

fn covers_resource(rule: &PolicyRule, resource: &str) -> bool {
    let of_any = resource
        .split_once('/')
        .map(|(_, part)| format!("*/{part}"));
    has(&rule.resources, resource) || of_any.is_some_and(|name| rule.resources.contains(&name))
}

/// Most parts of all rules of a role. One part takes some 400 bytes.
const PARTS_MAX: usize = 5 * COMBINATIONS_MAX;

/// Puts the verbs of parts with the same resource together (upstream's `CompactRules`).
fn compact(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let is_simple = |rule: &PolicyRule| rule.resource_names.is_empty() && rule.resources.len() == 1;
    let mut compacted: Vec<PolicyRule> = Vec::new();
    let mut simple: BTreeMap<(Vec<String>, Vec<String>), usize> = BTreeMap::new();
    for rule in rules {
        if is_simple(&rule) {
            let key = (rule.api_groups.clone(), rule.resources.clone());
            match simple.entry(key) {
                Entry::Occupied(at) => {
                    compacted[*at.get()].verbs.extend(rule.verbs);
                    continue;
                }
                Entry::Vacant(new) => {
                    new.insert(compacted.len());
                }
            }
        }
        compacted.push(rule);
    }
    compacted
}

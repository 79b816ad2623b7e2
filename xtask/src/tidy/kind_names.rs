//! Names of kinds in the API server: only files that are about a kind may name it. Everything else
//! asks the kind's row or strategy, so that a new kind is a new module and no edit elsewhere.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use pandaemon_machinery::scheme;
use syn::{
    ItemFn, ItemMod, LitStr,
    visit::{Visit, visit_item_fn, visit_item_mod},
};

use super::circles::is_test;

/// Files and folders below `crates/server/src` that are about single kinds, or about paths.
const ABOUT_KINDS: [&str; 18] = [
    "admission.rs",
    "admission/",
    "audit/event.rs",
    "auth/impersonation.rs",
    "authorizers/",
    "flow_control.rs",
    "fuzzing.rs",
    "handlers/subresources.rs",
    "handlers/subresources/",
    "http/request.rs",
    "registry/bootstrap.rs",
    "registry/bootstrap/flow_control.rs",
    "registry/extension_authentication.rs",
    "registry/kinds.rs",
    "registry/kubernetes_service.rs",
    "registry/lease_renewal.rs",
    "registry/node_record.rs",
    "registry/template_cache.rs",
];

/// The literals of a source file that are names of kinds. Tests do not count.
///
/// # Errors
/// If the file cannot be read or is no Rust.
pub(super) fn find(sources: &Path, file: &Path) -> Result<Vec<String>> {
    let Ok(place) = file.strip_prefix(sources) else {
        return Ok(Vec::new());
    };
    let place = place.to_string_lossy();
    let is_test = place.ends_with("tests.rs") || place.contains("/tests/");
    if is_test || ABOUT_KINDS.iter().any(|about| place.starts_with(about)) {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    names_in(&text).with_context(|| format!("parse {}", file.display()))
}

fn names_in(text: &str) -> Result<Vec<String>> {
    let mut literals = Literals {
        names: names(),
        found: Vec::new(),
    };
    literals.visit_file(&syn::parse_file(text)?);
    Ok(literals.found)
}

/// Kinds, resources, and prefixes of storage keys.
fn names() -> BTreeSet<String> {
    let kinds = scheme::built_in().kinds().iter();
    let names = kinds.flat_map(|kind| {
        let prefix = format!("/{}/", kind.storage);
        [&kind.kind, &kind.plural, &kind.storage, &prefix].map(String::clone)
    });
    names.filter(|name| !matches!(&**name, "" | "//")).collect()
}

struct Literals {
    names: BTreeSet<String>,
    found: Vec<String>,
}

impl<'ast> Visit<'ast> for Literals {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test(&item.attrs) {
            visit_item_fn(self, item);
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast LitStr) {
        let text = literal.value();
        if self.names.contains(&text) {
            self.found.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names_in;

    #[test]
    fn names_of_kinds_are_found_outside_of_tests() {
        let text = r#"
            fn a(kind: &Kind) -> bool { kind.plural == "pods" || kind.kind == "Lease" }
            fn b() -> &'static str { "pod" }
            #[cfg(test)]
            mod tests { const NODES: &str = "nodes"; }
        "#;
        let found = names_in(text).unwrap();
        assert_eq!(found, ["pods", "Lease"]);
    }
}

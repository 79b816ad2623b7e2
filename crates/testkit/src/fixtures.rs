//! Recorded objects that tests of several crates read.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A cluster of nodes, DaemonSets, ControllerRevisions and pods. The `README.md` beside each
/// recording says in what state it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// Kubernetes 1.20.2 wrote the objects.
    Upstream,
    /// Written by hand in the form in which upstream keeps them.
    Composed,
}

/// The recorded objects of a kind, without `kind` and `apiVersion`. `plural` is `nodes`,
/// `daemonsets`,
/// `controllerrevisions` or `pods`.
///
/// # Errors
/// When there is no such recording, or its objects are no `T`.
pub fn recorded<T: DeserializeOwned>(cluster: Recording, plural: &str) -> Result<Vec<T>> {
    let folder = match cluster {
        Recording::Upstream => "upstream-1.20",
        Recording::Composed => "composed",
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let file = fixtures.join(folder).join(plural).with_extension("json");
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let mut list: Value = serde_json::from_str(&text)?;
    serde_json::from_value(list["items"].take())
        .with_context(|| format!("parse {}", file.display()))
}

//! `codegen`: turns the published schema and the catalogue of kinds into the field tables and the OpenAPI documents
//! that the crate `machinery` embeds.

mod definitions;
mod presence;
mod tables;

/// The catalogue itself, not the crate around it: the generator must run also when the generated code is stale.
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the generator reads a part of the module that it includes"
)]
#[path = "../../crates/machinery/src/catalogue.rs"]
mod catalogue;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Types that answers and request options need beside the kinds.
const META_TYPES: &[&str] = &[
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
];

/// Writes every generated file.
pub(crate) fn run() -> Result<()> {
    let crate_dir = machinery_dir();
    let definitions = definitions::read(&crate_dir.join("schema/definitions.json.gz"))?;
    let wire = serde_json::from_slice(&std::fs::read(crate_dir.join("schema/wire.json"))?)?;
    let tables = tables::render(&definitions, &wire, &roots())?;
    write(
        &crate_dir.join("src/schema/generated.rs"),
        tables.as_bytes(),
    )
}

/// The type names from which everything served can be reached.
fn roots() -> Vec<&'static str> {
    let kinds = catalogue::kinds().iter().chain(catalogue::body_kinds());
    kinds
        .map(|kind| kind.type_name)
        .chain(META_TYPES.iter().copied())
        .collect()
}

fn machinery_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/machinery")
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    }
    std::fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

//! `tidy`: the rules of the house that a compiler does not know. Also runs as a test.

mod circles;
mod kind_names;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// Which of our crates a crate may use, beside itself. A crate is a permission.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("placement", &["types"]),
    ("planner", &["types", "placement"]),
    ("explain", &["types", "placement", "planner", "machinery"]),
    ("podsync", &["types"]),
    ("certificates", &[]),
    ("flow-control", &[]),
    ("machinery", &["types", "certificates"]),
    ("runtime", &[]),
    ("client", &["types", "runtime"]),
    ("store", &["runtime"]),
    ("cri", &[]),
    (
        "server",
        &[
            "types",
            "certificates",
            "flow-control",
            "machinery",
            "store",
            "runtime",
        ],
    ),
    (
        "controllers",
        &[
            "types",
            "certificates",
            "placement",
            "planner",
            "runtime",
            "client",
        ],
    ),
    (
        "agent",
        &[
            "types",
            "certificates",
            "podsync",
            "cri",
            "runtime",
            "client",
        ],
    ),
    ("hollow", &["types", "client", "runtime"]),
    ("fleet", &["types", "runtime"]),
    ("kubectl-ds", &["types", "explain", "client", "runtime"]),
    (
        "cli",
        &[
            "types",
            "certificates",
            "runtime",
            "client",
            "server",
            "store",
            "controllers",
            "agent",
            "hollow",
            "fleet",
            "kubectl-ds",
        ],
    ),
    (
        "testkit",
        &["certificates", "runtime", "client", "store", "server"],
    ),
    ("histories", &[]),
    ("vm", &["testkit"]),
    ("e2e", &[]),
];

/// Crates that decide and therefore must not be able to act.
const PURE: [&str; 8] = [
    "types",
    "certificates",
    "flow-control",
    "placement",
    "planner",
    "explain",
    "podsync",
    "machinery",
];

/// What a pure crate must not list: each brings a clock, a socket, a task or a log.
const IMPURE: [&str; 9] = [
    "tokio",
    "hyper",
    "axum",
    "kube",
    "tonic",
    "tracing",
    "futures",
    "nix",
    "pandaemon-runtime",
];

/// Where the calls that no pure crate may make are listed, seen from the crate.
const PURE_LINTS: &str = "../clippy-pure.toml";

/// Longest source file, tests left out.
const FILE_LINES_MAX: usize = 500;

/// Checks everything and lists every breach.
///
/// # Errors
/// When a rule is broken or the tree cannot be read.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let mut breaches = Vec::new();
    for manifest in manifests(&root)? {
        check_manifest(&manifest, &mut breaches)?;
    }
    for file in sources(&root) {
        check_source(&root, &file, &mut breaches)?;
    }
    check_kind_names(&root, &mut breaches)?;
    for manifest in manifests(&root)? {
        check_circles(&root, &manifest, &mut breaches)?;
    }
    check_workspace(&root, &mut breaches)?;
    check_invariants(&root, &mut breaches)?;
    if breaches.is_empty() {
        return Ok(());
    }
    bail!(
        "{} breaches of the house rules:\n{}",
        breaches.len(),
        breaches.join("\n")
    )
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

fn manifests(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.join("xtask/Cargo.toml"), root.join("e2e/Cargo.toml")];
    for entry in fs::read_dir(root.join("crates"))? {
        found.push(entry?.path().join("Cargo.toml"));
    }
    found.retain(|path| path.exists());
    found.sort();
    Ok(found)
}

fn check_manifest(manifest: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let text =
        fs::read_to_string(manifest).with_context(|| format!("read {}", manifest.display()))?;
    let folder = manifest
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default();
    let name = folder.to_string_lossy().into_owned();
    if !text.contains("[lints]\nworkspace = true") {
        breaches.push(format!("{name}: does not inherit the workspace's lints"));
    }
    let used = dependencies(&text);
    if PURE.contains(&name.as_str()) {
        let lints = fs::read_link(manifest.with_file_name("clippy.toml"));
        if lints.ok().as_deref() != Some(Path::new(PURE_LINTS)) {
            breaches.push(format!(
                "{name}: is pure; its clippy.toml must link to {PURE_LINTS}"
            ));
        }
        let bad = IMPURE.iter().filter(|impure| used.contains(**impure));
        breaches.extend(bad.map(|bad| format!("{name}: is pure and must not use {bad}")));
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(who, _)| *who == name) else {
        if name != "xtask" {
            breaches.push(format!("{name}: has no row in the table of allowed edges"));
        }
        return Ok(());
    };
    let ours: BTreeSet<&str> = used
        .iter()
        .filter_map(|used| used.strip_prefix("pandaemon-"))
        .filter(|used| *used != name)
        .collect();
    let allowed = BTreeSet::from_iter(allowed.iter().copied());
    let forbidden = ours.difference(&allowed);
    breaches.extend(forbidden.map(|used| format!("{name}: must not use {used}")));
    let unused = allowed.difference(&ours);
    breaches.extend(unused.map(|edge| {
        format!("{name}: does not use {edge}; take the edge out of the table in tidy.rs")
    }));
    Ok(())
}

/// Every crate that the workspace's manifest lists is used by one of ours.
fn check_workspace(root: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root.join("Cargo.toml")).context("read Cargo.toml")?;
    let mut users = String::new();
    for manifest in manifests(root)? {
        users.push_str(&fs::read_to_string(manifest)?);
    }
    let used: BTreeSet<&str> = users.lines().filter_map(dependency).collect();
    let listed = text
        .split("\n[")
        .find(|section| section.starts_with("workspace.dependencies]"));
    let listed = listed.unwrap_or_default().lines().skip(1);
    let unused = listed
        .filter_map(dependency)
        .filter(|name| !used.contains(name));
    breaches.extend(unused.map(|name| format!("Cargo.toml: no crate uses {name}")));
    Ok(())
}

/// The crate that a line of a manifest is about.
fn dependency(line: &str) -> Option<&str> {
    let name = line.split(['.', ' ', '=']).next()?;
    (!name.is_empty() && !name.starts_with('#')).then_some(name)
}

/// Names in `[dependencies]`; what only tests use does not count.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    manifest
        .split("\n[")
        .filter(|section| section.trim_start_matches('[').starts_with("dependencies]"))
        .flat_map(str::lines)
        .skip(1)
        .filter_map(dependency)
        .collect()
}

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("crates"), root.join("xtask"), root.join("e2e")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn check_source(root: &Path, file: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let shown = file
        .strip_prefix(root)
        .unwrap_or(file)
        .display()
        .to_string();
    if !text.starts_with("//!") && !text.starts_with("// @generated") {
        breaches.push(format!("{shown}: no `//!` header"));
    }
    if file.ends_with("mod.rs") {
        breaches.push(format!("{shown}: modules are foo.rs beside foo/"));
    }
    if let Some(line) = text.lines().position(|line| !line.is_ascii()) {
        breaches.push(format!("{shown}:{}: not ASCII", line + 1));
    }
    let generated = text
        .lines()
        .take(20)
        .any(|line| line.contains("@generated"));
    let short = if generated {
        Vec::new()
    } else {
        short_docs(&text)
    };
    for (line, words) in short {
        breaches.push(format!(
            "{shown}:{line}: the doc comment `{words}` says nothing that the name does not"
        ));
    }
    let is_code = shown.contains("/src/") && !generated && !shown.contains("/generated");
    let lines = text
        .split("\n#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .count();
    if is_code && !shown.ends_with("tests.rs") && lines > FILE_LINES_MAX {
        breaches.push(format!(
            "{shown}: {lines} lines, more than {FILE_LINES_MAX}"
        ));
    }
    Ok(())
}

/// Doc comments of one or two words, with their lines. Those that hold code, or stand for a unit or
/// format, say something; so do headings such as `# Errors`, and what a command line prints as
/// help.
fn short_docs(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if let Some(doc) = line.strip_prefix("///") {
            words.extend(doc.split_whitespace());
            continue;
        }
        let said = words.join(" ");
        let is_help = line.starts_with("#[arg") || line.starts_with("#[command");
        if matches!(words.len(), 1 | 2)
            && !is_help
            && !said.contains(['`', '#'])
            && said.ends_with('.')
        {
            found.push((number, said));
        }
        words.clear();
    }
    found
}

/// The API server names kinds only where it is about them.
fn check_kind_names(root: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let server = root.join("crates/server/src");
    for file in sources(root) {
        let shown = file.strip_prefix(root).unwrap_or(&file).display();
        for name in kind_names::find(&server, &file)? {
            breaches.push(format!(
                "{shown}: names the kind {name:?}; ask its row or its strategy"
            ));
        }
    }
    Ok(())
}

/// No file of a crate uses one that uses it.
fn check_circles(root: &Path, manifest: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let sources = manifest.with_file_name("src");
    for file in ["lib.rs", "main.rs"].map(|file| sources.join(file)) {
        let found = if file.is_file() {
            circles::find(&file)?
        } else {
            Vec::new()
        };
        for circle in found {
            let shown: Vec<String> = circle
                .iter()
                .map(|file| file.strip_prefix(root).unwrap_or(file))
                .map(|file| file.display().to_string())
                .collect();
            breaches.push(format!("these files use each other: {}", shown.join(", ")));
        }
    }
    Ok(())
}

/// Every invariant of ARCHITECTURE.md whose proof is a test has a test of that name.
fn check_invariants(root: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("read ARCHITECTURE.md")?;
    let mut code = String::new();
    for file in sources(root) {
        code.push_str(&fs::read_to_string(file)?);
    }
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Invariants"));
    let words = section.unwrap_or_default().split('`').skip(1).step_by(2);
    for test in words.filter(|word| word.matches('_').count() > 1) {
        if !code.contains(&format!("fn {test}(")) && !code.contains(&format!("(\"{test}\"")) {
            breaches.push(format!(
                "ARCHITECTURE.md names the test {test}, which is not there"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        run().unwrap();
    }

    #[test]
    fn short_doc_comments_are_found() {
        let text = "/// Its name.\nname: String,\n/// `spec.name`.\na: u8,\n/// One.\n/// More words here.\nb: u8,\n";
        assert_eq!(short_docs(text), [(1, "Its name.".to_owned())]);
    }

    #[test]
    fn only_the_dependencies_section_counts() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\ntokio.workspace = true\n\
             serde = { version = \"1\" }\n\n[dev-dependencies]\nkube.workspace = true\n";
        assert_eq!(dependencies(manifest), BTreeSet::from(["serde", "tokio"]));
    }
}

//! Text cases: `tests/cases/*.txt`. A case is headed by `# what it shows`; its lines describe a
//! snapshot, and the expected output follows after `----`.
//!
//! With a file `tests/cases/.bless` present, the answers are written into the files instead of
//! compared.

use std::path::{Path, PathBuf};

use crate::sketch::Sketch;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Runs one case and returns its text with the actual output.
fn check(case: &str) -> String {
    let mut sketch = Sketch::default();
    let mut lines = Vec::new();
    for line in case.lines().take_while(|line| *line != "----") {
        if !line.starts_with('#') && !line.is_empty() {
            sketch.line(line);
        }
        lines.push(line);
    }
    format!("{}\n----\n{}", lines.join("\n"), sketch.output().trim_end())
}

#[test]
fn the_text_cases_are_explained_as_recorded() {
    let mut faults = Vec::new();
    for path in files() {
        let before = std::fs::read_to_string(&path).unwrap();
        let text = before.strip_prefix("# ").unwrap();
        let after: Vec<String> = text
            .split("\n# ")
            .map(|case| check(&format!("# {}", case.trim_end())))
            .collect();
        let after = after.join("\n\n") + "\n";
        if path.with_file_name(".bless").exists() {
            std::fs::write(&path, after).unwrap();
        } else if before != after {
            faults.push(format!("{}:\n{after}", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

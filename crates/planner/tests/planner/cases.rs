//! Text cases: `tests/cases/*.txt`. Each file holds cases, headed by `# what it shows`. A case is
//! blocks of lines that describe changes, each followed by `----` and the plan that they lead to.
//!
//! With a file `tests/cases/.bless` present, the plans are written into the files instead of
//! compared.

use std::path::{Path, PathBuf};

use crate::text_cluster::TextCluster;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Runs one case. Returns its text with the plans that the planner made now.
fn check(case: &str) -> String {
    let title = case.lines().next().unwrap_or_default();
    let mut text = TextCluster::new(title.contains("(bind)"));
    let mut out = Vec::new();
    let mut skipping = false;
    for line in case.lines() {
        match line {
            "----" => {
                out.push("----".to_owned());
                out.extend(Some(text.plan()).filter(|plan| !plan.is_empty()));
                skipping = true;
            }
            "" => {
                out.push(String::new());
                skipping = false;
            }
            _ if skipping => {}
            line => {
                if !line.starts_with('#') {
                    text.line(line);
                }
                out.push(line.to_owned());
            }
        }
    }
    text.cluster.settle();
    out.join("\n").trim_end().to_owned()
}

#[test]
fn text_cases_match_their_recorded_plans() {
    let mut faults = Vec::new();
    for path in files() {
        let before = std::fs::read_to_string(&path).unwrap();
        let after: Vec<String> = before
            .split("\n# ")
            .enumerate()
            .map(|(position, case)| {
                let case = if position > 0 {
                    format!("# {case}")
                } else {
                    case.to_owned()
                };
                check(case.trim_end())
            })
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

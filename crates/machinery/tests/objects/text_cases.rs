//! Cases in text files: `=== TITLE`, a line with a command, its input, `---` and the expected
//! output.

use std::{fs, path::Path};

pub(crate) struct TextCase {
    pub(crate) title: String,
    pub(crate) command: String,
    pub(crate) input: String,
    pub(crate) expected: String,
}

/// All cases in `tests/cases/FOLDER/*.txt`, in the order of the file names.
pub(crate) fn read(folder: &str) -> Vec<TextCase> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(folder);
    let entries = fs::read_dir(folder).expect("a folder with cases");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a file with cases");
        for case in text.split("=== ").skip(1) {
            let (title, rest) = case.split_once('\n').expect("a title");
            let (command, rest) = rest.split_once('\n').expect("a command");
            let (input, expected) = rest.split_once("---\n").expect("an expected output");
            cases.push(TextCase {
                title: title.to_owned(),
                command: command.to_owned(),
                input: input.to_owned(),
                expected: expected.to_owned(),
            });
        }
    }
    cases
}

/// A YAML document as JSON.
pub(crate) fn yaml(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).expect("YAML")
}

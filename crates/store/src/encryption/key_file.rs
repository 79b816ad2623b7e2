//! The key file: one key a line, in base64. The first one encrypts, all decrypt.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use pandaemon_runtime::files::{private_dir, replace_private};

use super::{
    error::Error,
    key::{Key, KeyId, SECRET},
};

const HEAD: &str = "\
# The keys with which pandaemon encrypts what it stores. Keep a copy of this file in a safe place,
# and not with the copies of the data: without it the encrypted objects are lost, with it they can
# be read.
#
# One key a line: 32 random bytes in base64. The first one encrypts, all decrypt. A key that is
# `retired` goes when nothing is encrypted with it any more. `pandaemon rotate-keys` makes a new
# first key and rewrites this file.
";
/// Marks a key that goes.
const RETIRED: &str = "retired";

/// A key of the file.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) key: Arc<Key>,
    /// It goes when nothing is encrypted with it any more.
    pub(super) is_retired: bool,
}

impl Listed {
    pub(super) fn new(key: Arc<Key>) -> Self {
        Self {
            key,
            is_retired: false,
        }
    }
}

/// A key file, which may not exist yet.
#[derive(Debug, Clone)]
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
}

impl KeyFile {
    /// Its keys, the one that encrypts first; `None` if the file does not exist.
    ///
    /// # Errors
    /// If it cannot be read, or is not a key file.
    pub(super) fn read(&self) -> Result<Option<Vec<Listed>>, Error> {
        let text = self.text()?;
        text.map(|text| self.parsed(&text)).transpose()
    }

    /// Its content; `None` if the file does not exist.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn text(&self) -> Result<Option<String>, Error> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed("read", source)),
        }
    }

    fn parsed(&self, text: &str) -> Result<Vec<Listed>, Error> {
        parse(text).map_err(|why| Error::Malformed {
            path: self.path.clone(),
            why,
        })
    }

    /// Replaces its content in one step. It is on disk when this returns.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, keys: &[Listed]) -> Result<(), Error> {
        let written = private_dir(self.path.parent().unwrap_or(Path::new("")))
            .and_then(|()| replace_private(&self.path, print(keys).as_bytes()));
        written.map_err(|source| self.failed("write", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        let path = self.path.clone();
        Error::File {
            action,
            path,
            source,
        }
    }
}

/// The content of a key file; `None` if it does not exist.
///
/// # Errors
/// If it cannot be read.
pub fn key_file_text(path: &Path) -> Result<Option<String>, Error> {
    let path = path.to_owned();
    KeyFile { path }.text()
}

/// The ids of the keys in a key file; none if it does not exist.
///
/// # Errors
/// If it cannot be read, or is not a key file.
pub fn keys_of(path: &Path) -> Result<BTreeSet<KeyId>, Error> {
    let path = path.to_owned();
    let listed = KeyFile { path }.read()?.unwrap_or_default();
    Ok(listed.iter().map(|listed| listed.key.id()).collect())
}

/// The ids of the keys in the text of a key file, which comes from a backup.
///
/// # Errors
/// If it is not one. The path is that of the backup.
pub fn keys_of_text(path: &Path, text: &str) -> Result<BTreeSet<KeyId>, Error> {
    let path = path.to_owned();
    let listed = KeyFile { path }.parsed(text)?;
    Ok(listed.iter().map(|listed| listed.key.id()).collect())
}

/// Adds the keys in the text of a key file to a key file, which is made if it does not exist. The
/// first key of an existing file goes on encrypting, and the added ones go when nothing needs them.
///
/// # Errors
/// If the file cannot be read or written, or one of the two is not a key file.
pub fn add_keys(path: &Path, text: &str) -> Result<(), Error> {
    let path = path.to_owned();
    let file = KeyFile { path };
    let added = file.parsed(text)?;
    let Some(mut keys) = file.read()? else {
        return file.write(&added);
    };
    let before = keys.len();
    for added in added {
        if keys.iter().all(|known| known.key.id() != added.key.id()) {
            keys.push(Listed {
                is_retired: true,
                ..added
            });
        }
    }
    match keys.len() > before {
        true => file.write(&keys),
        false => Ok(()),
    }
}

fn print(keys: &[Listed]) -> String {
    let mut text = HEAD.to_owned();
    for Listed { key, is_retired } in keys {
        let mark = if *is_retired { "retired " } else { "" };
        let secret = BASE64.encode(key.secret());
        text.push_str(&format!("\n# key {}\n{mark}{secret}\n", key.id()));
    }
    text
}

/// The keys of a file; otherwise what is wrong, without any part of a key.
fn parse(text: &str) -> Result<Vec<Listed>, String> {
    let mut keys: Vec<Listed> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let content = line.split('#').next().unwrap_or_default();
        let mut words = content.split_whitespace();
        let (mark, secret) = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(secret), None, _) => (None, secret),
            (Some(mark), Some(secret), None) => (Some(mark), secret),
            _ => return Err(format!("line {number} has more than a key")),
        };
        if mark.is_some_and(|mark| mark != RETIRED) {
            return Err(format!(
                "line {number} begins with neither `retired` nor a key"
            ));
        }
        let bytes = BASE64.decode(secret).ok();
        let bytes = bytes.and_then(|bytes| <[u8; SECRET]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| format!("line {number} is not 32 bytes in base64"))?;
        let key = Key::new(bytes).map_err(|error| error.to_string())?;
        if keys.iter().any(|listed| listed.key.id() == key.id()) {
            return Err(format!("line {number} repeats an earlier key"));
        }
        if keys.is_empty() && mark.is_some() {
            return Err(format!(
                "line {number} retires the first key, which encrypts"
            ));
        }
        keys.push(Listed {
            key: Arc::new(key),
            is_retired: mark.is_some(),
        });
    }
    if keys.is_empty() {
        return Err("it has no key".to_owned());
    }
    Ok(keys)
}

/// The ids of keys, for messages.
pub(super) fn names(ids: impl IntoIterator<Item = KeyId>) -> String {
    let names: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[test]
    fn key_files_are_read_as_they_are_written_and_as_a_person_writes_them() {
        let written = parse(&format!("# mine\n\n {ONE} # from 2025\nretired {TWO}")).unwrap();
        let again = parse(&print(&written)).unwrap();
        for keys in [written, again] {
            let shown: Vec<_> = keys
                .iter()
                .map(|listed| (listed.key.secret()[0], listed.is_retired))
                .collect();
            assert_eq!(shown, [(1, false), (2, true)]);
        }
    }

    #[test]
    fn added_keys_are_retired_and_the_first_key_stays_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert!(keys_of(&path).unwrap().is_empty());
        let shown = || {
            let listed = KeyFile { path: path.clone() }.read().unwrap().unwrap();
            let shown = listed.iter();
            let shown = shown.map(|listed| (listed.key.secret()[0], listed.is_retired));
            shown.collect::<Vec<_>>()
        };
        add_keys(&path, ONE).unwrap();
        assert_eq!(shown(), [(1, false)]);
        add_keys(&path, &format!("{TWO}\n{ONE}")).unwrap();
        assert_eq!(shown(), [(1, false), (2, true)]);
        add_keys(&path, TWO).unwrap();
        assert_eq!(shown(), [(1, false), (2, true)]);
        let both = keys_of_text(&path, &format!("{TWO}\n{ONE}")).unwrap();
        assert_eq!(keys_of(&path).unwrap(), both);
        assert!(add_keys(&path, "nothing").is_err());
        assert_eq!(shown(), [(1, false), (2, true)]);
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_said_without_its_keys() {
        let cases = [
            ("", "it has no key"),
            ("# nothing\n", "it has no key"),
            ("\nAQEB", "line 2 is not 32 bytes in base64"),
            ("not!base64", "line 1 is not 32 bytes in base64"),
            (&format!("{ONE}\n{ONE}"), "line 2 repeats an earlier key"),
            (
                &format!("{ONE} {TWO}"),
                "line 1 begins with neither `retired` nor a key",
            ),
            (
                &format!("retired {ONE} {TWO}"),
                "line 1 has more than a key",
            ),
            (
                &format!("retired {ONE}"),
                "line 1 retires the first key, which encrypts",
            ),
        ];
        for (text, why) in cases {
            assert_eq!(parse(text).unwrap_err(), why, "{text}");
        }
    }
}

//! What is in a backup, for people.

use pandaemon_server::{
    backup::{BackupError, Manifest, manifest},
    resource_of_prefix,
};
use pandaemon_store::Contents;
use pandaemon_types::time::rfc3339_seconds;

use crate::table;

/// A backup that was read, with its manifest.
#[derive(Debug)]
pub(in crate::command) struct Inside {
    pub(in crate::command) contents: Contents,
    pub(in crate::command) manifest: Manifest,
}

/// A number of objects.
pub(in crate::command) fn objects(count: u64) -> String {
    match count {
        1 => "1 object".to_owned(),
        count => format!("{count} objects"),
    }
}

/// A number of bytes.
pub(in crate::command) fn megabytes(bytes: u64) -> String {
    if bytes < 1_000_000 {
        return format!("{} KB", bytes.div_ceil(1000));
    }
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

impl Inside {
    /// # Errors
    /// If the manifest cannot be read.
    pub(in crate::command) fn of(contents: Contents) -> Result<Self, BackupError> {
        Ok(Self {
            manifest: manifest(&contents)?,
            contents,
        })
    }

    /// The ids of the encryption keys that values need.
    pub(in crate::command) fn needed_keys(&self) -> String {
        let keys = self.contents.keys.iter();
        let keys: Vec<String> = keys.map(ToString::to_string).collect();
        keys.join(", ")
    }

    /// What was backed up to this place, and what is not in it.
    pub(super) fn summary(&self, place: &str) -> Vec<String> {
        let Contents {
            revision, bytes, ..
        } = &self.contents;
        let mut lines = vec![format!(
            "      {} at revision {revision}, {}, in {}: whole and checked",
            objects(self.contents.count()),
            megabytes(*bytes),
            place
        )];
        let needs = self.needed_keys();
        lines.push(match (self.manifest.has_keys, needs.is_empty()) {
            (true, _) => {
                "WARNING: encryption keys, CAs and the keys of tokens are inside. Anyone who has this file can read every \
                 Secret and be anyone in the cluster"
                    .to_owned()
            }
            (false, true) => "      Keys and CAs are not inside: keep a copy of pki apart".to_owned(),
            (false, false) => format!(
                "      Keys and CAs are not inside: keep copies of encryption-keys and pki apart. A restore needs the \
                 encryption keys {needs}"
            ),
        });
        lines.push("      Leases of nodes are not inside: nodes renew them".to_owned());
        lines
    }

    /// All that is known of the backup.
    pub(super) fn table(&self) -> Vec<String> {
        let counts = self.contents.counts.iter();
        let mut rows: Vec<[String; 2]> = counts
            .map(|(prefix, count)| [resource_of_prefix(prefix), count.to_string()])
            .collect();
        rows.push(["all".to_owned(), self.contents.count().to_string()]);
        let mut lines = table::lines(["RESOURCE", "OBJECTS"], &rows);
        lines.push(String::new());
        let facts = self.facts();
        let width = facts.iter().map(|(name, _)| name.len()).max();
        let width = width.unwrap_or_default();
        let facts = facts.into_iter();
        lines.extend(facts.map(|(name, value)| format!("{name:<width$}   {value}")));
        lines
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let Manifest {
            program,
            time,
            cluster,
            identity,
            has_keys,
        } = &self.manifest;
        let or_none = |text: String| match text.is_empty() {
            true => "none".to_owned(),
            false => text,
        };
        let keys = match has_keys {
            true => "inside",
            false => "not inside",
        };
        vec![
            ("made at", rfc3339_seconds(*time)),
            ("by pandaemon", program.clone()),
            ("revision", self.contents.revision.to_string()),
            ("cluster", cluster.clone().unwrap_or("unknown".to_owned())),
            ("keys and CAs", keys.to_owned()),
            ("encryption keys needed", or_none(self.needed_keys())),
            ("CA", or_none(identity.ca.clone().unwrap_or_default())),
            (
                "token signing keys",
                or_none(identity.signing_keys.join(", ")),
            ),
            ("size", megabytes(self.contents.bytes)),
        ]
    }
}

//! What becomes of encryption keys, CAs and tokens in a restore.

use std::{collections::BTreeSet, path::Path};

use pandaemon_server::backup::{ENCRYPTION_KEYS, Identity, PKI, key_files};
use pandaemon_store::encryption::{KeyId, add_keys, keys_of, keys_of_text};

use crate::command::backup::Inside;

/// What becomes of the CAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pki {
    /// They are those of the backup, and stay.
    Kept,
    /// There are none; those in the backup are written.
    Made,
    /// There are others, which those in the backup replace.
    Replaced,
    /// There are others, and none are in the backup.
    Other,
    /// There are none.
    Missing,
}

/// What becomes of the keys.
#[derive(Debug)]
pub(super) struct KeyPlan<'a> {
    inside: &'a Inside,
    data_dir: &'a Path,
    key_file: &'a Path,
    pki: Pki,
    /// Keys in the backup that the key file lacks.
    added: BTreeSet<KeyId>,
    /// Keys that values need and that are nowhere.
    missing: BTreeSet<KeyId>,
    /// Keys that have signed tokens and that the data directory lacks.
    unknown_signers: Vec<String>,
}

fn names(ids: &BTreeSet<KeyId>) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

impl<'a> KeyPlan<'a> {
    /// # Errors
    /// If a key file cannot be read.
    pub(super) fn new(
        inside: &'a Inside,
        data_dir: &'a Path,
        key_file: &'a Path,
    ) -> anyhow::Result<Self> {
        let present = keys_of(key_file)?;
        let text = encryption_keys(inside);
        let backup = text.map(|text| keys_of_text(Path::new("of the backup"), &text));
        let backup = backup.transpose()?.unwrap_or_default();
        let needed = &inside.contents.keys;
        let lacking = needed.difference(&present);
        let missing = lacking.filter(|key| !backup.contains(key));
        // One that cannot be parsed is replaced, or named at the next start.
        let identity = Identity::of(data_dir).unwrap_or_default();
        let signers = inside.manifest.identity.signing_keys.iter();
        let unknown = signers.filter(|id| !identity.signing_keys.contains(id));
        Ok(Self {
            inside,
            data_dir,
            key_file,
            pki: pki(inside, data_dir, &identity),
            added: backup.difference(&present).copied().collect(),
            missing: missing.copied().collect(),
            unknown_signers: unknown.cloned().collect(),
        })
    }

    /// What becomes of them, for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let (pki, file) = (self.data_dir.join(PKI), self.key_file.display());
        let mut lines = Vec::new();
        if !self.added.is_empty() {
            lines.push(format!(
                "The encryption keys {} of the backup are added to {file}.",
                names(&self.added)
            ));
        } else if !self.inside.contents.keys.is_empty() && self.missing.is_empty() {
            lines.push(format!("{file} has the encryption keys of the backup."));
        }
        let pki = pki.display();
        lines.push(match self.pki {
            Pki::Kept => format!("{pki} has the CA of the backup, and stays as it is."),
            Pki::Made => format!("{pki} and tokens are those of the backup."),
            Pki::Replaced => format!(
                "{pki} has another CA than the backup. It and the tokens are replaced by those of the backup, and \
                 kept in another directory. Agents and kubeconfigs of the present CA are trusted no more."
            ),
            Pki::Other => format!(
                "{pki} has another CA than the backup, and stays: agents and kubeconfigs of the cluster that was \
                 backed up are not trusted. To have them back, put the files of its pki there before the next start."
            ),
            Pki::Missing => format!(
                "The CA is missing: keys are not in the backup, and there is no {pki}. Put a copy of it there before \
                 the next start; otherwise a new CA is made, and all agents join again and all kubeconfigs are \
                 made again."
            ),
        });
        if !self.unknown_signers.is_empty() && !self.replaces_pki() {
            lines.push(format!(
                "Tokens of service accounts that were signed with {} are not trusted: pods get new ones from their \
                 nodes, others have to be made again.",
                self.unknown_signers.join(", ")
            ));
        }
        lines
    }

    /// Which encryption keys are missing, and what to do.
    pub(super) fn missing(&self) -> Option<String> {
        if self.missing.is_empty() {
            return None;
        }
        Some(format!(
            "the backup needs the encryption keys {}, which are neither in {} nor in the backup. Put a copy of the \
             key file of that time there, or add its keys as further lines, or name it with --encryption-key-file. If \
             they are lost, restore with --allow-missing-keys: then `pandaemon rotate-keys --delete-lost` deletes \
             what they encrypt",
            names(&self.missing),
            self.key_file.display()
        ))
    }

    /// Adds the encryption keys of the backup to the key file. The present store is read as before.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn add_encryption_keys(&self) -> anyhow::Result<()> {
        match encryption_keys(self.inside) {
            Some(text) if !self.added.is_empty() => Ok(add_keys(self.key_file, &text)?),
            _ => Ok(()),
        }
    }

    /// Whether CAs and tokens of the backup are put in place.
    pub(super) fn replaces_pki(&self) -> bool {
        matches!(self.pki, Pki::Made | Pki::Replaced)
    }

    /// The files to put in place.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        key_files(&self.inside.contents)
    }
}

/// The text of the key file in the backup.
fn encryption_keys(inside: &Inside) -> Option<String> {
    let content = inside.contents.files.get(ENCRYPTION_KEYS)?;
    Some(String::from_utf8_lossy(content).into_owned())
}

fn pki(inside: &Inside, data_dir: &Path, present: &Identity) -> Pki {
    let files = || key_files(&inside.contents);
    let has_keys = files().next().is_some();
    let is_there = |(name, _): (&str, &[u8])| data_dir.join(name).exists();
    match (&present.ca, has_keys) {
        (Some(ca), _) if inside.manifest.identity.ca.as_ref() == Some(ca) => {
            match files().all(is_there) {
                true => Pki::Kept,
                false => Pki::Replaced,
            }
        }
        (None, true) if !data_dir.join(PKI).exists() => Pki::Made,
        (_, true) => Pki::Replaced,
        (Some(_), false) => Pki::Other,
        (None, false) => Pki::Missing,
    }
}

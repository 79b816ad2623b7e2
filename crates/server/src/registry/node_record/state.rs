//! What the record of a node's keys says. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::pki::constant_time_eq;

/// The most keys of a node: the current one, the next one, and those of renewals that broke off.
const MAX_KEYS: usize = 8;
/// The most deletions that are remembered.
const MAX_DELETED: usize = 16;
/// Stands for all keys of a node that joined when records had no keys.
const ANY_KEY: &str = "*";

/// The record of a node: the keys whose certificates count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record {
    /// The hash of the secret of the machine, of agents that send one.
    pub secret: String,
    /// The hashes of the keys, the newest last. `None` in records of the time when they had none:
    /// then every certificate of the node counts.
    pub keys: Option<Vec<String>>,
    /// Keys of Nodes that were deleted, the newest last.
    pub deleted: Vec<DeletedKey>,
}

/// A key that counted until its Node was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeletedKey {
    /// The hash of the key, or [`ANY_KEY`].
    pub key: String,
    /// The UID of the Node.
    pub uid: String,
    /// When it was deleted, in seconds since 1970.
    pub at: i64,
}

/// Whether a certificate with a key counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// The key is in the record.
    Counts,
    /// It did until the Node with this UID was deleted.
    Deleted(&'a str),
    /// Nothing is known about the key.
    Unknown,
}

/// How a machine shows that it has had the name before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Not at all: it joins, or has kept its key.
    None,
    /// With the hash of its secret.
    Secret(String),
    /// With a certificate of the node whose key has this hash. It must count still.
    Key(String),
}

/// A key that somebody wants certificates for.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    /// The name of the node.
    pub node: &'a str,
    /// The hash of the key.
    pub key: &'a str,
    /// How the machine shows that it has had the name before.
    pub proof: Proof,
    /// Whether there may be a Node of this name without a record, such as one that an administrator
    /// has created for the machine.
    pub node_may_exist: bool,
}

impl Record {
    /// A record without keys.
    pub(super) fn empty() -> Self {
        Self {
            keys: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// The record in a Secret. What cannot be read counts as empty.
    pub(super) fn of(secret: &Value) -> Self {
        let field = |name: &str| {
            let text = secret["data"][name].as_str()?;
            String::from_utf8(STANDARD.decode(text).ok()?).ok()
        };
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let deleted = |line: String| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(DeletedKey {
                key: words.next()?,
                uid: words.next()?,
                at: words.next()?.parse().ok()?,
            })
        };
        let has_keys = secret["data"].get("keys").is_some();
        Self {
            secret: field("hash").unwrap_or_default(),
            keys: has_keys.then(|| field("keys").map(lines).unwrap_or_default()),
            deleted: field("deleted")
                .map(lines)
                .unwrap_or_default()
                .into_iter()
                .filter_map(deleted)
                .collect(),
        }
    }

    /// The data of the Secret.
    pub(super) fn data(&self) -> Value {
        let mut data = Map::new();
        let mut insert = |name: &str, text: &str| {
            data.insert(name.to_owned(), json!(STANDARD.encode(text)));
        };
        if !self.secret.is_empty() {
            insert("hash", &self.secret);
        }
        if let Some(keys) = &self.keys {
            insert("keys", &keys.join("\n"));
        }
        if !self.deleted.is_empty() {
            let line = |one: &DeletedKey| format!("{} {} {}", one.key, one.uid, one.at);
            let lines: Vec<String> = self.deleted.iter().map(line).collect();
            insert("deleted", &lines.join("\n"));
        }
        Value::Object(data)
    }

    /// Whether a certificate with this key counts.
    pub(super) fn verdict(&self, key: &str) -> Verdict<'_> {
        let counts = match &self.keys {
            Some(keys) => keys.iter().any(|known| known == key),
            None => true,
        };
        if counts {
            return Verdict::Counts;
        }
        let mut deleted = self.deleted.iter().rev();
        match deleted.find(|one| one.key == key || one.key == ANY_KEY) {
            Some(one) => Verdict::Deleted(&one.uid),
            None => Verdict::Unknown,
        }
    }

    /// The record with the key of a claim; `None` if the name is that of another machine.
    pub(super) fn claimed(&self, claim: &Claim<'_>, node_exists: bool) -> Option<Self> {
        let mut new = self.clone();
        let same_machine = match &claim.proof {
            Proof::Secret(hash) => !hash.is_empty() && constant_time_eq(hash, &self.secret),
            Proof::Key(key) if self.verdict(key) == Verdict::Counts => true,
            // Of a Node that was deleted since it asked.
            Proof::Key(_) => return None,
            Proof::None => false,
        };
        let is_known = |keys: &Vec<String>| keys.iter().any(|known| known == claim.key);
        let is_free = match &self.keys {
            Some(keys) => keys.is_empty() || is_known(keys),
            None => !node_exists,
        };
        if !same_machine && !is_free {
            return None;
        }
        if let Proof::Secret(hash) = &claim.proof {
            new.secret.clone_from(hash);
        }
        let keys = new.keys.get_or_insert_default();
        keys.retain(|known| known != claim.key);
        keys.push(claim.key.to_owned());
        keys.drain(..keys.len().saturating_sub(MAX_KEYS));
        Some(new)
    }

    /// The record after the deletion of the Node.
    pub(super) fn after_deletion(&self, uid: &str, at: i64) -> Self {
        let keys = self.keys.clone();
        let keys = keys.unwrap_or_else(|| vec![ANY_KEY.to_owned()]);
        let mut deleted = self.deleted.clone();
        deleted.extend(keys.into_iter().map(|key| DeletedKey {
            key,
            uid: uid.to_owned(),
            at,
        }));
        deleted.drain(..deleted.len().saturating_sub(MAX_DELETED));
        Self {
            secret: String::new(),
            keys: Some(Vec::new()),
            deleted,
        }
    }

    /// Whether the record only remembers deletions before this time.
    pub(super) fn is_outdated(&self, before: i64) -> bool {
        self.keys.as_ref().is_some_and(Vec::is_empty)
            && self.deleted.iter().all(|one| one.at < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(key: &str, proof: Proof) -> Claim<'_> {
        Claim {
            node: "n",
            key,
            proof,
            node_may_exist: false,
        }
    }

    fn key_of(hash: &str) -> Proof {
        Proof::Key(hash.into())
    }

    fn secret(hash: &str) -> Proof {
        Proof::Secret(hash.into())
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let records = [
            Record::default(),
            Record {
                secret: "h".into(),
                ..Record::default()
            },
            Record::default()
                .claimed(&claim("k", secret("h")), true)
                .unwrap_or_default(),
            Record {
                keys: Some(vec!["a".into(), "b".into()]),
                ..Record::default()
            }
            .after_deletion("u", 7),
        ];
        for record in records {
            assert_eq!(Record::of(&json!({"data": record.data()})), record);
        }
    }

    #[test]
    fn a_name_belongs_to_the_keys_of_its_record() {
        let with_keys = |keys: &[&str]| Record {
            secret: "h".into(),
            keys: Some(keys.iter().map(|&key| key.to_owned()).collect()),
            deleted: Vec::new(),
        };
        let former = Record {
            keys: None,
            ..with_keys(&[])
        };
        let one = with_keys(&["a"]);
        let gone = one.after_deletion("u", 1);
        let table = [
            (&one, Proof::None, "a", true, Some(vec!["a"])),
            (&one, Proof::None, "b", true, None),
            (&one, Proof::None, "b", false, None),
            (&one, secret("other"), "b", false, None),
            (&one, secret("h"), "b", true, Some(vec!["a", "b"])),
            (&one, key_of("a"), "b", true, Some(vec!["a", "b"])),
            (&one, key_of("x"), "b", true, None),
            (&one, key_of("x"), "a", true, None),
            (&gone, key_of("a"), "b", true, None),
            (&former, key_of("x"), "b", true, Some(vec!["b"])),
            (&gone, secret("other"), "b", true, Some(vec!["b"])),
            (&gone, Proof::None, "a", true, Some(vec!["a"])),
            (&former, Proof::None, "a", true, None),
            (&former, secret("h"), "a", true, Some(vec!["a"])),
            (&former, secret("other"), "a", false, Some(vec!["a"])),
        ];
        for (record, proof, key, node_exists, expected) in table {
            let claim = claim(key, proof);
            let found = record.claimed(&claim, node_exists);
            let expected: Option<Vec<String>> =
                expected.map(|keys| keys.into_iter().map(str::to_owned).collect());
            assert_eq!(found.and_then(|record| record.keys), expected, "{claim:?}");
        }
        let many = (0..20).fold(one, |record, at| {
            let key = at.to_string();
            record.claimed(&claim(&key, secret("h")), true).unwrap()
        });
        assert_eq!(many.keys.unwrap().len(), MAX_KEYS);
    }

    #[test]
    fn the_keys_of_a_deleted_node_no_longer_count() {
        let record = Record {
            keys: Some(vec!["a".into()]),
            ..Record::default()
        };
        assert_eq!(record.verdict("a"), Verdict::Counts);
        assert_eq!(record.verdict("b"), Verdict::Unknown);
        let gone = record.after_deletion("u1", 5);
        assert_eq!(gone.verdict("a"), Verdict::Deleted("u1"));
        assert_eq!(gone.verdict("b"), Verdict::Unknown);
        assert!(gone.is_outdated(6) && !gone.is_outdated(5) && !record.is_outdated(6));
        let again = gone.claimed(&claim("b", Proof::None), false).unwrap();
        assert_eq!(again.verdict("b"), Verdict::Counts);
        assert_eq!(again.verdict("a"), Verdict::Deleted("u1"));
        // Of a node that joined before records had keys, every certificate counted.
        let former = Record::default();
        assert_eq!(former.verdict("x"), Verdict::Counts);
        assert_eq!(
            former.after_deletion("u", 1).verdict("x"),
            Verdict::Deleted("u")
        );
    }
}

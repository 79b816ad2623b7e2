//! Transactions and their bounds, which are the same for every store.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{Durability, Error, Expect, Key, Op, Result, Write};

/// The most writes of a transaction, checks included (etcd's `--max-txn-ops`).
pub const MAX_OPERATIONS: usize = 128;
/// The most bytes of keys and values of a transaction (etcd's `--max-request-bytes`).
pub const MAX_TRANSACTION_BYTES: usize = 3 << 19;

/// Writes that happen together or not at all, at one revision.
///
/// It changes at most one key of a collection: a reader that resumes after a revision must not find
/// that it has seen a part of it.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// The writes, each with its guard.
    pub writes: Vec<Write>,
    /// Whether it must survive a crash.
    pub durability: Durability,
}

impl Transaction {
    /// A transaction of one durable write.
    #[must_use]
    pub fn of(key: Key, expect: Expect, op: Op) -> Self {
        let write = Write {
            key,
            expect,
            op,
            note: None,
        };
        Self {
            writes: vec![write],
            durability: Durability::Durable,
        }
    }

    /// The same transaction, which depends on one more key.
    #[must_use]
    pub fn with_check(mut self, key: Key, expect: Expect) -> Self {
        self.writes.push(Write {
            key,
            expect,
            op: Op::Check,
            note: None,
        });
        self
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`MAX_OPERATIONS`] or [`MAX_TRANSACTION_BYTES`], and for two
    /// changes of one collection.
    pub fn check(&self) -> Result<()> {
        if let [write] = &*self.writes {
            return check_bytes(size(write));
        }
        if self.writes.len() > MAX_OPERATIONS {
            let text = format!(
                "a transaction has at most {MAX_OPERATIONS} operations, this one {}",
                self.writes.len()
            );
            return Err(Error::TooLarge(text));
        }
        let mut collections = BTreeSet::new();
        for write in &self.writes {
            if !matches!(write.op, Op::Check) && !collections.insert(collection(&write.key)) {
                let text = format!(
                    "a transaction changes one key of a collection, this one several of {}",
                    collection(&write.key)
                );
                return Err(Error::TooLarge(text));
            }
        }
        check_bytes(self.writes.iter().map(size).sum())
    }

    /// Number of bytes of its keys and values.
    #[must_use]
    pub(crate) fn size(&self) -> usize {
        self.writes.iter().map(size).sum()
    }
}

fn check_bytes(bytes: usize) -> Result<()> {
    if bytes <= MAX_TRANSACTION_BYTES {
        return Ok(());
    }
    Err(Error::TooLarge(format!(
        "the store takes at most {MAX_TRANSACTION_BYTES} bytes at once, this are {bytes}"
    )))
}

fn size(write: &Write) -> usize {
    let value = match &write.op {
        Op::Put(value) => Bytes::len(value),
        Op::Delete | Op::Check => 0,
    };
    write.key.len() + value
}

/// The first segment of a key.
fn collection(key: &str) -> &str {
    let rest = key.strip_prefix('/').unwrap_or(key);
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_transactions() {
        let put = |key: &str, bytes: usize| {
            Transaction::of(key.into(), Expect::Absent, Op::Put(vec![0; bytes].into()))
        };
        let and = |mut first: Transaction, second: Transaction| {
            first.writes.extend(second.writes);
            first
        };
        let fits = |transaction: &Transaction| transaction.check().is_ok();
        assert!(fits(&put("/a/b/c", MAX_TRANSACTION_BYTES - 6)));
        assert!(!fits(&put("/a/b/c", MAX_TRANSACTION_BYTES - 5)));
        assert!(fits(&and(put("/a//x", 1), put("/b//x", 1))));
        assert!(!fits(&and(put("/a//x", 1), put("/a//y", 1))));
        assert!(fits(
            &put("/a//x", 1).with_check("/a//y".into(), Expect::At(1))
        ));
        let checks = (0..MAX_OPERATIONS).fold(put("/a//x", 1), |transaction, at| {
            transaction.with_check(format!("/b//{at}").into(), Expect::Absent)
        });
        assert!(!fits(&checks));
        let half = MAX_TRANSACTION_BYTES / 2;
        assert!(!fits(&and(put("/a//x", half), put("/b//x", half))));
    }
}

//! Answers of the control plane that are used again for seconds.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

/// The most answers that are kept.
const CAPACITY: usize = 1024;

/// The SHA-256 of a question.
type Key = [u8; 32];

struct Entry<V> {
    value: V,
    /// When it was asked, in milliseconds since 1970.
    from: i64,
    until: i64,
}

/// Answers by the hash of the question. The answer that ends first makes room for a new one.
pub(super) struct ReviewCache<V>(Mutex<BTreeMap<Key, Entry<V>>>);

impl<V> Default for ReviewCache<V> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<V: Clone> ReviewCache<V> {
    /// The answer, if it is valid at this time. The clock may have been set back meanwhile.
    pub(super) fn get(&self, key: &Key, now: i64) -> Option<V> {
        let entries = self.0.lock();
        let entry = entries.get(key)?;
        (entry.from <= now && now < entry.until).then(|| entry.value.clone())
    }

    /// Remembers an answer to what was asked at `from`.
    pub(super) fn insert(&self, key: Key, value: V, from: i64, ttl: Duration) {
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(0);
        let until = from.saturating_add(ttl);
        let mut entries = self.0.lock();
        entries.insert(key, Entry { value, from, until });
        if CAPACITY < entries.len() {
            let first = entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(key) = first.map(|(key, _)| *key) {
                entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_and_many_are_not_kept() {
        let cache = ReviewCache::default();
        let key = |number: u16| {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            key
        };
        let second = Duration::from_secs(1);
        cache.insert(key(0), 0, 5000, second);
        let found = [4999, 5000, 5999, 6000].map(|now| cache.get(&key(0), now));
        assert_eq!(found, [None, Some(0), Some(0), None]);
        for number in 1..=CAPACITY {
            let number = u16::try_from(number).unwrap();
            cache.insert(key(number), number, 5000, second * 2);
        }
        assert_eq!(cache.0.lock().len(), CAPACITY);
        assert_eq!(cache.get(&key(0), 5000), None, "it ends first");
        assert_eq!(cache.get(&key(1), 5000), Some(1));
    }
}

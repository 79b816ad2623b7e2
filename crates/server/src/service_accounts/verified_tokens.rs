//! The tokens whose signatures were verified lately. The signature is most of the cost of a token;
//! whether its claims hold is checked each time.

use std::{collections::HashMap, fmt, mem, sync::Arc};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::claims::Claims;

/// Number of tokens in a generation. There are two.
const GENERATION: usize = 4096;

/// The hash of a token.
pub(super) type TokenHash = [u8; 32];

/// The ID of the key that has signed a token, and the claims.
pub(super) type Verified = (String, Arc<Claims>);

/// The hash under which a token is known.
pub(super) fn hash_of(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// Verified tokens by their hashes. When a generation is full, those that were not used since the
/// one before was full are dropped.
#[derive(Default)]
pub(super) struct VerifiedTokens(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    recent: HashMap<TokenHash, Verified>,
    older: HashMap<TokenHash, Verified>,
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedTokens")
    }
}

impl VerifiedTokens {
    /// What is known about a token.
    pub(super) fn get(&self, hash: &TokenHash) -> Option<Verified> {
        let mut all = self.0.lock();
        if let Some(known) = all.recent.get(hash) {
            return Some(known.clone());
        }
        let known = all.older.remove(hash)?;
        all.insert(*hash, known.clone());
        Some(known)
    }

    /// Remembers a token.
    pub(super) fn insert(&self, hash: TokenHash, verified: Verified) {
        self.0.lock().insert(hash, verified);
    }
}

impl Generations {
    fn insert(&mut self, hash: TokenHash, verified: Verified) {
        self.recent.insert(hash, verified);
        if self.recent.len() >= GENERATION {
            self.older = mem::take(&mut self.recent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tokens_in_use_stay_and_their_number_is_bounded() {
        let all = VerifiedTokens::default();
        let hash = |number: usize| hash_of(&number.to_string());
        let in_use = (String::from("key"), Arc::default());
        all.insert(hash(0), in_use.clone());
        for number in 1..4 * GENERATION {
            all.insert(hash(number), in_use.clone());
            assert!(all.get(&hash(0)).is_some());
        }
        assert_eq!(all.get(&hash(1)), None);
        let all = all.0.lock();
        assert!(all.recent.len() + all.older.len() <= 2 * GENERATION);
    }
}

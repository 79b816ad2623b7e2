//! Random bytes of the system.

use std::io;

use ring::rand::{SecureRandom as _, SystemRandom};

/// Random bytes that no client can guess.
///
/// # Errors
/// If the system has none.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}

/// What the state of SplitMix64 grows by with each number.
#[cfg(any(test, feature = "double"))]
pub(crate) const SPLIT_MIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number of a state of SplitMix64, for tests whose faults follow from a seed.
#[cfg(any(test, feature = "double"))]
pub(crate) fn split_mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Numbers that follow from a seed.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

#[cfg(test)]
impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(split_mix(seed.wrapping_add(SPLIT_MIX_STEP)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(SPLIT_MIX_STEP);
        split_mix(self.0)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < usize::try_from(per_mille).unwrap()
    }
}

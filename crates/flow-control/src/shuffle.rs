//! Shuffle sharding: the few queues of many that a flow may use. Two flows seldom have the same
//! ones, so that a flow which fills its queues leaves others a free one. Upstream:
//! `k8s.io/apiserver/pkg/util/shufflesharding`.

/// The most queues in a hand: what 60 bits of a hash can choose, by upstream's validation.
const MAX_HAND: usize = 10;

/// Calls `pick` with the queues of a flow: `hand` different numbers below `queues`.
pub(crate) fn deal(mut hash: u64, queues: usize, hand: usize, mut pick: impl FnMut(usize)) {
    let hand = hand.min(queues).min(MAX_HAND);
    let mut dealt = [0_usize; MAX_HAND];
    for count in 0..hand {
        let left = (queues - count) as u64;
        // Which of those that are left; `left` is at most a usize.
        let mut card = usize::try_from(hash % left).unwrap_or(0);
        hash /= left;
        // Skips those dealt, which are kept in ascending order.
        for taken in &dealt[..count] {
            card += usize::from(card >= *taken);
        }
        let at = dealt[..count].partition_point(|taken| *taken < card);
        dealt.copy_within(at..count, at + 1);
        dealt[at] = card;
        pick(card);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn hand(hash: u64, queues: usize, size: usize) -> Vec<usize> {
        let mut hand = Vec::new();
        deal(hash, queues, size, |card| hand.push(card));
        hand
    }

    proptest! {
        #[test]
        fn a_hand_has_different_queues(hash: u64, queues in 1_usize..200, size in 1_usize..12) {
            let dealt = hand(hash, queues, size);
            prop_assert_eq!(dealt.len(), size.min(queues).min(MAX_HAND));
            let distinct: BTreeSet<usize> = dealt.iter().copied().collect();
            prop_assert_eq!(distinct.len(), dealt.len());
            prop_assert!(dealt.iter().all(|card| *card < queues));
        }
    }

    #[test]
    fn all_hands_are_dealt_equally_often() {
        // 4 * 3 ordered hands of two of four queues.
        let mut counts = std::collections::BTreeMap::new();
        for hash in 0..1200 {
            *counts.entry(hand(hash, 4, 2)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 12);
        assert!(counts.values().all(|count| *count == 100));
    }
}

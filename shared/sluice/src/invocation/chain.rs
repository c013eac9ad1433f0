//! Work that is longer than one invocation.

/// A function that continues its work by invoking itself: hop 0 was asked for, each further hop
/// comes from the one before it. It ends when nothing is left, when a hop made no progress, or after
/// `hops_max` hops, so that it can never go round for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// This hop.
    pub hop: u32,
    /// The last hop that there may be.
    pub hops_max: u32,
}

impl Chain {
    /// The next hop, if there is to be one.
    pub fn next_hop(self, is_unfinished: bool, has_progress: bool) -> Option<u32> {
        (is_unfinished && has_progress && self.hop < self.hops_max).then(|| self.hop + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chain_continues_only_while_work_is_left_and_it_makes_progress() {
        let chain = Chain { hop: 0, hops_max: 16 };
        assert_eq!(chain.next_hop(true, true), Some(1));
        for (is_unfinished, has_progress) in [(true, false), (false, true), (false, false)] {
            assert_eq!(chain.next_hop(is_unfinished, has_progress), None);
        }
    }

    proptest! {
        #[test]
        fn every_chain_ends_after_its_last_hop(hop: u32, hops_max in 0..1_000u32) {
            let mut chain = Chain { hop: hop.min(hops_max), hops_max };
            let mut hops = chain.hop;
            while let Some(hop) = chain.next_hop(true, true) {
                prop_assert_eq!(hop, hops + 1);
                hops = hop;
                chain.hop = hop;
            }
            prop_assert_eq!(hops, hops_max);
            prop_assert_eq!(Chain { hop, hops_max }.next_hop(true, true).is_some(), hop < hops_max);
        }
    }
}

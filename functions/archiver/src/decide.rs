//! How much of a batch goes out at once, and what follows when some of it does not make it. Pure.

use crate::join::Joined;
use crate::letter::Unarchivable;

/// Bytes that are joined up before they are put.
const CHUNK_BYTES: usize = 16 * 1_048_576;

/// What is on its way out, and the places of its records in the batch.
#[derive(Default)]
pub(crate) struct Chunk {
    pub joined: Joined,
    pub unarchivable: Vec<Unarchivable>,
    unarchivable_bytes: usize,
}

impl Chunk {
    pub fn is_full(&self) -> bool {
        self.joined.bytes + self.unarchivable_bytes >= CHUNK_BYTES
    }

    pub fn set_aside(&mut self, unarchivable: Unarchivable) {
        self.unarchivable_bytes += unarchivable.data.len();
        self.unarchivable.push(unarchivable);
    }
}

impl Chunk {
    /// The place of the first record that the Firehose did not take all of.
    pub fn first_not_put(&self, not_put: &[usize]) -> Option<usize> {
        not_put.iter().map(|&index| self.joined.first[index]).min()
    }

    /// What to hand over now: what stands behind a record that comes again anyway is handed over then.
    pub fn to_hand_over(
        &self,
        first_not_put: Option<usize>,
    ) -> impl Iterator<Item = &Unarchivable> {
        let comes_again = move |place| first_not_put.is_some_and(|first| first <= place);
        self.unarchivable.iter().take_while(move |one| !comes_again(one.place))
    }
}

#[cfg(test)]
mod tests {
    use sluice::delivery::Reason;

    use super::*;

    fn chunk(archivable: &[usize], unarchivable: &[usize]) -> Chunk {
        let mut chunk = Chunk::default();
        for &place in archivable {
            // Each fills a record of its own.
            chunk.joined.add(place, &[b'x'; 262_000]).expect("it fits");
        }
        for &place in unarchivable {
            let (reason, detail, data) = (Reason::NotBase64, String::new(), Vec::new());
            chunk.set_aside(Unarchivable { place, event: 0, reason, detail, data });
        }
        chunk
    }

    #[test]
    fn a_batch_comes_again_from_the_first_record_that_was_not_put() {
        let chunk = chunk(&[0, 2, 5], &[]);
        assert_eq!(chunk.first_not_put(&[]), None);
        assert_eq!(chunk.first_not_put(&[2, 1]), Some(2));
    }

    #[test]
    fn what_comes_again_anyway_is_not_handed_over_twice() {
        let chunk = chunk(&[0, 2], &[1, 2, 3]);
        let places = |first| chunk.to_hand_over(first).map(|one| one.place).collect::<Vec<_>>();
        assert_eq!(places(None), [1, 2, 3]);
        assert_eq!(places(Some(2)), [1]);
        assert_eq!(places(Some(0)), [0; 0]);
    }
}

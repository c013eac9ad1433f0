//! Shards as ranges of the hash space, with their lineage.

use sluice::scaling::Shard;

/// A shard that is or was there. Its number is its place in [`ShardMap::all`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRecord {
    /// Id and range.
    pub shard: Shard,
    /// The shards that it came from; empty for the first ones.
    pub parents: Vec<usize>,
    /// Whether it takes records.
    pub is_open: bool,
}

/// Every shard of a stream. The open ones always cover the hash space without a gap.
#[derive(Debug, Clone)]
pub struct ShardMap {
    all: Vec<ShardRecord>,
    /// Numbers of the open shards, by range.
    open: Vec<usize>,
}

impl ShardMap {
    /// So many equal shards.
    #[must_use]
    pub fn uniform(shards: usize) -> Self {
        let mut map = Self { all: Vec::new(), open: Vec::new() };
        map.open = equal_ranges(shards).map(|range| map.add(range, Vec::new())).collect();
        map
    }

    /// Every shard, closed ones included.
    #[must_use]
    pub fn all(&self) -> &[ShardRecord] {
        &self.all
    }

    /// The open shards with their numbers, by range.
    pub fn open(&self) -> impl ExactSizeIterator<Item = (usize, &Shard)> {
        self.open.iter().map(|&number| (number, &self.all[number].shard))
    }

    /// The number of the open shard that takes `hash`.
    #[must_use]
    pub fn number_of(&self, hash: u128) -> usize {
        let after = self.open.partition_point(|&number| self.all[number].shard.from <= hash);
        self.open[after - 1]
    }

    /// The number of the open shard called `id`.
    #[must_use]
    pub fn open_number(&self, id: &str) -> Option<usize> {
        self.open.iter().copied().find(|&number| self.all[number].shard.id == id)
    }

    /// Replaces the open shards by `target` equal ones. A shard that has its place already stays.
    pub fn reshard(&mut self, target: usize) {
        let before = std::mem::take(&mut self.open);
        self.open = equal_ranges(target)
            .map(|(from, to)| {
                let parents: Vec<usize> = before
                    .iter()
                    .copied()
                    .filter(|&number| {
                        let shard = &self.all[number].shard;
                        shard.from <= to && from <= shard.to
                    })
                    .collect();
                let stays = |&number: &usize| {
                    (self.all[number].shard.from, self.all[number].shard.to) == (from, to)
                };
                match parents.iter().copied().find(stays) {
                    Some(number) => number,
                    None => self.add((from, to), parents),
                }
            })
            .collect();
        for number in before {
            self.all[number].is_open = self.open.contains(&number);
        }
    }

    /// Splits an open shard so that the upper part begins at `at`, which must lie inside it.
    pub fn split(&mut self, number: usize, at: u128) {
        let Shard { from, to, .. } = self.all[number].shard;
        assert!(from < at && at <= to, "a split lies inside its shard");
        let parts = [(from, at - 1), (at, to)].map(|range| self.add(range, vec![number]));
        self.all[number].is_open = false;
        let place = self.open.iter().position(|&open| open == number).expect("an open shard");
        self.open.splice(place..=place, parts);
    }

    /// Merges an open shard with the open one after it.
    pub fn merge(&mut self, number: usize) {
        let place = self.open.iter().position(|&open| open == number).expect("an open shard");
        let parents = vec![number, self.open[place + 1]];
        let range = (self.all[parents[0]].shard.from, self.all[parents[1]].shard.to);
        for &parent in &parents {
            self.all[parent].is_open = false;
        }
        let child = self.add(range, parents);
        self.open.splice(place..=place + 1, [child]);
    }

    fn add(&mut self, (from, to): (u128, u128), parents: Vec<usize>) -> usize {
        let number = self.all.len();
        let shard = Shard { id: format!("shardId-{number:012}"), from, to };
        self.all.push(ShardRecord { shard, parents, is_open: true });
        number
    }
}

/// First and last hash of so many equal ranges.
fn equal_ranges(count: usize) -> impl Iterator<Item = (u128, u128)> {
    assert!(count > 0, "a stream has shards");
    let shards = count as u128;
    // 2^128 does not fit: its quotient and remainder by way of 2^128 - 1.
    let (width, rest) = (u128::MAX / shards, u128::MAX % shards + 1);
    let begin = move |place: u128| place * width + place * rest / shards;
    (0..shards).map(move |place| {
        let to = if place + 1 == shards { u128::MAX } else { begin(place + 1) - 1 };
        (begin(place), to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_covers(map: &ShardMap) {
        let mut next = Some(0);
        for (number, shard) in map.open() {
            assert_eq!(Some(shard.from), next);
            assert!(map.all()[number].is_open);
            assert_eq!(map.number_of(shard.from), number);
            assert_eq!(map.number_of(shard.to), number);
            next = shard.to.checked_add(1);
        }
        assert_eq!(next, None, "the last shard ends with the hash space");
        assert_eq!(map.all().iter().filter(|shard| shard.is_open).count(), map.open().len());
    }

    #[test]
    fn open_shards_cover_the_hash_space_whatever_happens() {
        let mut map = ShardMap::uniform(1);
        for target in [2, 3, 6, 5, 3, 2, 1, 7, 10_000, 5_000] {
            map.reshard(target);
            assert_eq!(map.open().len(), target);
            assert_covers(&map);
            let (number, middle) = {
                let (number, shard) = map.open().nth(target / 2).expect("a shard");
                (number, shard.from + shard.width() / 2 + 1)
            };
            map.split(number, middle);
            assert_eq!(map.open().len(), target + 1);
            assert_covers(&map);
            let lower = map.number_of(middle - 1);
            map.merge(lower);
            assert_eq!(map.open().len(), target);
            assert_covers(&map);
        }
    }

    #[test]
    fn equal_shards_are_equal() {
        for count in [1, 2, 3, 5, 7, 1_000] {
            let widths: Vec<u128> = equal_ranges(count).map(|(from, to)| to - from).collect();
            let (least, most) = (widths.iter().min(), widths.iter().max());
            assert!(most.expect("shards") - least.expect("shards") <= 1);
        }
    }

    #[test]
    fn children_know_their_parents() {
        let mut map = ShardMap::uniform(2);
        map.reshard(4);
        assert_eq!(map.all()[2].parents, [0]);
        assert_eq!(map.all()[5].parents, [1]);
        map.reshard(2);
        assert_eq!(map.all()[6].parents, [2, 3]);
        map.merge(6);
        assert_eq!(map.all()[8].parents, [6, 7]);
    }
}

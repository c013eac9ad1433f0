//! Which shards are read, in which order, and how far each is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sluice::ports::{ReadFrom, ShardLineage};

use crate::event::{Moment, Resume, Trigger};

/// How a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was closed within the window, and its children go on.
    Closed,
    /// It went on beyond the window: its children, if it has any, began after it.
    Until,
}

/// A shard under way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    /// The last record that the target has; empty for none.
    after: String,
    reached_ms: u64,
}

/// The shards of the window by id. Kinesis numbers shards as it makes them, so parents come before
/// their children, and "all up to this one" says which are done: a progress is as long as the shards
/// that are read at once.
#[derive(Debug, Clone)]
pub struct Progress {
    stream: String,
    from_ms: u64,
    until_ms: u64,
    shards: Vec<ShardLineage>,
    /// The place of the first that is not begun.
    next: usize,
    begun: String,
    active: BTreeMap<String, Cursor>,
    /// Where in time those ended that are done; those of earlier hops are not in it.
    done_ms: BTreeMap<String, u64>,
    /// Those of them whose children begin after the window.
    beyond: BTreeSet<String>,
    /// Shards that were under way and whose records are gone by retention.
    expired: usize,
    /// Records that the target has.
    pub records: u64,
    /// Records that the target does not take.
    pub set_aside: u64,
}

impl Progress {
    /// A progress over the listed shards, from the beginning or from where `trigger` says.
    pub fn new(stream: &str, trigger: &Trigger, mut shards: Vec<ShardLineage>) -> Self {
        shards.sort_by(|one, other| one.id.cmp(&other.id));
        let resume = trigger.resume.clone();
        let begun = resume.as_ref().map(|resume| resume.begun.clone()).unwrap_or_default();
        let next = shards.partition_point(|shard| shard.id <= begun);
        let from_ms = resume.as_ref().map_or(trigger.from, |resume| resume.reached).0;
        let from_ms = from_ms.max(trigger.from.0);
        let set_aside = resume.as_ref().map_or(0, |resume| resume.set_aside);
        let (records, under_way) =
            resume.map_or_else(Default::default, |resume| (resume.records, resume.shards));
        let all = under_way.len();
        let active: BTreeMap<_, _> = under_way
            .into_iter()
            .filter(|(id, _)| shards.binary_search_by(|shard| shard.id.cmp(id)).is_ok())
            .map(|(id, after)| (id, Cursor { after, reached_ms: from_ms }))
            .collect();
        Self {
            stream: stream.to_owned(),
            from_ms,
            until_ms: trigger.until.0,
            next,
            begun,
            expired: all - active.len(),
            active,
            done_ms: BTreeMap::new(),
            beyond: BTreeSet::new(),
            records,
            set_aside,
            shards,
        }
    }

    /// Shards that are listed.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether no shard is listed.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// Shards that are not done.
    pub fn left(&self) -> usize {
        self.active.len() + self.shards.len() - self.next
    }

    /// Shards that were under way and are gone by retention.
    pub fn expired(&self) -> usize {
        self.expired
    }

    /// The shards under way.
    pub fn under_way(&self) -> Vec<String> {
        self.active.keys().cloned().collect()
    }

    /// Begins the next shard, when less than `at_once` are under way and its parents are done.
    pub fn begin(&mut self, at_once: usize) -> Option<String> {
        while self.active.len() < at_once {
            let shard = self.shards.get(self.next)?;
            if shard.parents.iter().any(|parent| self.active.contains_key(parent)) {
                return None;
            }
            let id = shard.id.clone();
            let reached_ms = self.begins_ms(shard);
            let is_beyond = shard.parents.iter().any(|parent| self.beyond.contains(parent));
            self.next += 1;
            self.begun.clone_from(&id);
            if is_beyond {
                self.beyond.insert(id.clone());
                self.done_ms.insert(id, self.until_ms);
            } else {
                self.active.insert(id.clone(), Cursor { after: String::new(), reached_ms });
                return Some(id);
            }
        }
        None
    }

    /// The target has everything of the shard up to this record, `records` more.
    pub fn advance(&mut self, id: &str, after: &str, arrived_ms: u64, records: u64) {
        self.records += records;
        if let Some(cursor) = self.active.get_mut(id) {
            after.clone_into(&mut cursor.after);
            cursor.reached_ms = cursor.reached_ms.max(arrived_ms);
        }
    }

    /// The target has all of the shard that lies in the window.
    pub fn finish(&mut self, id: &str, end: End) {
        let Some(cursor) = self.active.remove(id) else { return };
        match end {
            End::Closed => {
                self.done_ms.insert(id.to_owned(), cursor.reached_ms);
            }
            End::Until => {
                self.beyond.insert(id.to_owned());
                self.done_ms.insert(id.to_owned(), self.until_ms);
            }
        }
    }

    /// Where a shard goes on: at `from_ms` when it gave nothing yet.
    pub fn read_from(&self, id: &str, from_ms: u64) -> ReadFrom {
        match self.active.get(id).map(|cursor| cursor.after.as_str()) {
            None | Some("") => ReadFrom::At(from_ms),
            Some(after) => ReadFrom::After(after.to_owned()),
        }
    }

    /// The target has everything that arrived before.
    pub fn reached_ms(&self) -> u64 {
        // A child begins where its parents end, and is no further than they are.
        let waiting = self.shards[self.next..].iter().map(|shard| self.begins_ms(shard));
        let active = self.active.values().map(|cursor| cursor.reached_ms);
        active.chain(waiting).min().unwrap_or(self.until_ms).min(self.until_ms)
    }

    /// What goes on from here.
    pub fn resume(&self) -> Resume {
        Resume {
            stream: self.stream.clone(),
            begun: self.begun.clone(),
            shards: self.active.iter().map(|(id, at)| (id.clone(), at.after.clone())).collect(),
            reached: Moment(self.reached_ms()),
            records: self.records,
            set_aside: self.set_aside,
        }
    }

    fn begins_ms(&self, shard: &ShardLineage) -> u64 {
        let ended = shard.parents.iter().filter_map(|parent| self.done_ms.get(parent));
        ended.max().copied().unwrap_or(self.from_ms)
    }
}

#[cfg(test)]
mod tests {
    use sluice::limits::INVOKE_LATER_EVENT_BYTES_MAX;

    use super::*;

    fn trigger() -> Trigger {
        Trigger::parse(
            r#"{"from":"2026-11-21T08:00:00Z","until":"2026-11-21T09:00:00Z","target":"stream:x"}"#,
        )
        .expect("a trigger")
    }

    fn id(number: usize) -> String {
        format!("shardId-{number:012}")
    }

    fn shard(number: usize, parents: &[usize]) -> ShardLineage {
        ShardLineage { id: id(number), parents: parents.iter().map(|&parent| id(parent)).collect() }
    }

    fn progress(shards: &[(usize, &[usize])]) -> Progress {
        let shards = shards.iter().map(|&(number, parents)| shard(number, parents)).collect();
        Progress::new("logs", &trigger(), shards)
    }

    #[test]
    fn children_wait_for_both_parents() {
        let mut progress = progress(&[(2, &[0, 1]), (0, &[]), (1, &[])]);
        assert_eq!(
            [progress.begin(8), progress.begin(8), progress.begin(8)],
            [Some(id(0)), Some(id(1)), None]
        );
        progress.finish(&id(1), End::Closed);
        assert_eq!(progress.begin(8), None);
        progress.finish(&id(0), End::Closed);
        assert_eq!(progress.begin(8), Some(id(2)));
        progress.finish(&id(2), End::Until);
        assert_eq!((progress.left(), progress.reached_ms()), (0, trigger().until.0));
    }

    #[test]
    fn no_more_shards_are_under_way_than_may_be() {
        let mut progress = progress(&[(0, &[]), (1, &[]), (2, &[])]);
        assert_eq!(
            [progress.begin(2), progress.begin(2), progress.begin(2)],
            [Some(id(0)), Some(id(1)), None]
        );
    }

    #[test]
    fn what_began_after_the_window_is_not_read() {
        let mut progress = progress(&[(0, &[]), (1, &[0]), (2, &[0]), (3, &[1, 2])]);
        assert_eq!(progress.begin(8), Some(id(0)));
        progress.finish(&id(0), End::Until);
        assert_eq!((progress.begin(8), progress.left()), (None, 0));
    }

    #[test]
    fn parents_that_are_gone_by_retention_hold_nobody_up() {
        let mut progress = progress(&[(7, &[3]), (8, &[3])]);
        assert_eq!([progress.begin(8), progress.begin(8)], [Some(id(7)), Some(id(8))]);
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let shards: Vec<ShardLineage> = (0..6).map(|number| shard(number, &[])).collect();
        let mut first = Progress::new("logs", &trigger(), shards.clone());
        (0..3).for_each(|_| _ = first.begin(3));
        first.finish(&id(0), End::Until);
        first.advance(&id(1), "49", trigger().from.0 + 60_000, 5);
        let resume = first.resume();
        assert_eq!(
            resume.shards,
            BTreeMap::from([(id(1), "49".to_owned()), (id(2), String::new())])
        );
        let mut second = Progress::new("logs", &trigger().resumed(resume, 1), shards);
        assert_eq!(second.under_way(), [id(1), id(2)]);
        assert_eq!(second.read_from(&id(1), 7), ReadFrom::After("49".to_owned()));
        assert_eq!(second.read_from(&id(2), 7), ReadFrom::At(7));
        assert_eq!((second.records, second.left()), (5, 5));
        assert_eq!(second.begin(3), Some(id(3)));
    }

    #[test]
    fn the_slowest_shard_says_how_far_it_is() {
        let from_ms = trigger().from.0;
        let mut progress = progress(&[(0, &[]), (1, &[]), (2, &[0])]);
        assert!(progress.begin(2).is_some() && progress.begin(2).is_some());
        progress.advance(&id(0), "1", from_ms + 9_000, 1);
        assert_eq!(progress.reached_ms(), from_ms);
        progress.advance(&id(1), "1", from_ms + 5_000, 1);
        // The waiting child is not further than its parent, which is not further than the window.
        assert_eq!(progress.reached_ms(), from_ms);
        progress.finish(&id(0), End::Closed);
        assert_eq!(progress.reached_ms(), from_ms + 5_000);
    }

    #[test]
    fn a_shard_that_is_gone_while_under_way_is_told_of() {
        let resume = Resume {
            stream: "logs".to_owned(),
            begun: id(5),
            shards: BTreeMap::from([(id(3), "1".to_owned()), (id(5), "2".to_owned())]),
            reached: trigger().from,
            records: 0,
            set_aside: 0,
        };
        let progress = Progress::new(
            "logs",
            &trigger().resumed(resume, 1),
            vec![shard(5, &[]), shard(6, &[])],
        );
        assert_eq!((progress.expired(), progress.left()), (1, 2));
    }

    #[test]
    fn what_it_remembers_does_not_grow_with_the_shards() {
        let shards = (0..10_000).map(|number| shard(number, &[])).collect();
        let mut progress = Progress::new("logs", &trigger(), shards);
        while let Some(id) = progress.begin(32) {
            progress.advance(&id, &"4".repeat(56), 0, 1);
            if progress.active.len() == 32 && progress.left() > 5_000 {
                progress.finish(&id, End::Until);
            }
        }
        let text = trigger().resumed(progress.resume(), 1_000).to_text();
        assert_eq!(progress.active.len(), 32);
        assert!(text.len() < 4_000, "{} bytes", text.len());
        assert!(text.len() < INVOKE_LATER_EVENT_BYTES_MAX / 10);
    }
}

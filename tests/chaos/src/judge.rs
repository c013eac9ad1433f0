//! Where every event is, and what follows from that.

use sluice_simulated::consumer::events_of;
use sluice_simulated::stream::StoredRecord;

use crate::events::{Kind, Sent};

/// How often each event is somewhere, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copies {
    counts: Vec<u32>,
    /// What is there and was never sent, or not as it is.
    pub strangers: Vec<String>,
}

impl Copies {
    /// In records of the stream.
    #[must_use]
    pub fn in_records<'a>(
        sent: &Sent,
        records: impl IntoIterator<Item = &'a StoredRecord>,
    ) -> Self {
        let mut copies = Self { counts: vec![0; sent.len()], strangers: Vec::new() };
        for stored in records {
            for event in events_of(&stored.record.data, &stored.record.partition_key) {
                match sent.id_of_whole(&event) {
                    Some(id) => copies.counts[id] += 1,
                    None => copies.strange(&String::from_utf8_lossy(&event)),
                }
            }
        }
        copies
    }

    /// In bodies of messages.
    #[must_use]
    pub fn in_bodies<T: AsRef<str>>(sent: &Sent, bodies: impl IntoIterator<Item = T>) -> Self {
        let mut copies = Self { counts: vec![0; sent.len()], strangers: Vec::new() };
        for body in bodies {
            match sent.ids_in(body.as_ref()) {
                Some(ids) => ids.into_iter().for_each(|id| copies.counts[id] += 1),
                None => copies.strange(body.as_ref()),
            }
        }
        copies
    }

    fn strange(&mut self, what: &str) {
        self.strangers.push(what.chars().take(80).collect());
    }

    /// Of one event.
    #[must_use]
    pub fn of(&self, id: usize) -> u32 {
        self.counts.get(id).copied().unwrap_or(0)
    }

    /// Events that are there at least once.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.counts.iter().filter(|&&count| count > 0).count()
    }
}

/// All places at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The stream, and what deleted ones had taken.
    pub stream: Copies,
    /// The dead-letter queue.
    pub dead_letters: Copies,
    /// The quarantine.
    pub quarantine: Copies,
}

/// What became of everything that was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Events that are nowhere, by id.
    pub lost: Vec<usize>,
    /// Copies in the stream and the quarantine beyond the first.
    pub duplicates: u64,
    /// Events in the stream.
    pub delivered: u64,
    /// Events in quarantine and not in the stream.
    pub quarantined: u64,
    /// Events that the transform left out and that are nowhere else.
    pub filtered: u64,
    /// Events that Lambda deleted before any function saw them, and that are nowhere else.
    pub deleted: u64,
    /// What must not be, in words.
    pub failures: Vec<String>,
}

/// How many ids a failure names.
const NAMED_MAX: usize = 5;

/// Judges the places of everything that was `sent`. `is_filtered` says which events the transform
/// has left out, `is_deleted` which Lambda has deleted from its queue.
#[must_use]
pub fn judge(
    sent: &Sent,
    places: &Places,
    is_filtered: impl Fn(usize) -> bool,
    is_deleted: impl Fn(usize) -> bool,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut misplaced = Vec::new();
    for id in 0..sent.len() {
        let (stream, quarantine) = (places.stream.of(id), places.quarantine.of(id));
        let dead_letters = places.dead_letters.of(id);
        verdict.duplicates += u64::from((stream + quarantine).saturating_sub(1));
        if stream > 0 {
            verdict.delivered += 1;
            if !sent.kind(id).is_some_and(Kind::is_deliverable) {
                misplaced.push(id);
            }
        } else if quarantine > 0 {
            verdict.quarantined += 1;
        } else if is_filtered(id) {
            verdict.filtered += 1;
        } else if dead_letters == 0 && is_deleted(id) {
            verdict.deleted += 1;
        } else if dead_letters == 0 {
            verdict.lost.push(id);
        }
    }
    if !verdict.lost.is_empty() {
        let named = &verdict.lost[..verdict.lost.len().min(NAMED_MAX)];
        verdict.failures.push(format!("{} events are nowhere: {named:?}", verdict.lost.len()));
    }
    if !misplaced.is_empty() {
        let named = &misplaced[..misplaced.len().min(NAMED_MAX)];
        let what = "events that cannot be delivered are in the stream";
        verdict.failures.push(format!("{} {what}: {named:?}", misplaced.len()));
    }
    for (place, copies) in [
        ("stream", &places.stream),
        ("dead-letter queue", &places.dead_letters),
        ("quarantine", &places.quarantine),
    ] {
        if let Some(stranger) = copies.strangers.first() {
            let number = copies.strangers.len();
            verdict.failures.push(format!("{number} in the {place} were never sent: {stranger:?}"));
        }
    }
    verdict
}

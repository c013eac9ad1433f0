//! The simulated stream's reading side does as Kinesis does.

use std::time::Duration;

use sluice::ports::{
    Clock, PutRecords, ReadError, ReadFrom, ReadStream, RecordsPage, StreamRecord,
};
use sluice::records::Record;
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::{ReadLimits, Stream, VirtualClock};

const FIRST: &str = "shardId-000000000000";

struct World {
    clock: VirtualClock,
    stream: Stream,
}

impl World {
    fn new(shards: usize) -> Self {
        let clock = VirtualClock::begin();
        Self { clock, stream: Stream::new(clock, shards) }
    }

    async fn put(&self, key: &str, bytes: usize) {
        let record = Record { partition_key: key.to_owned(), data: vec![7; bytes] };
        let answer = (&self.stream).put_records(&[&record]).await.expect("an answer");
        assert_eq!(answer, [None]);
    }

    async fn iterator(&self, shard: &str, from: ReadFrom) -> Result<String, ReadError> {
        (&self.stream).get_shard_iterator(shard, &from).await
    }

    async fn read(&self, iterator: &str) -> Result<RecordsPage, ReadError> {
        (&self.stream).get_records(iterator, 1_000).await
    }

    /// Reads a shard to its end, or to the tip.
    async fn read_all(&self, shard: &str, from: ReadFrom) -> Vec<StreamRecord> {
        let mut next = Some(self.iterator(shard, from).await.expect("an iterator"));
        let mut records = Vec::new();
        while let Some(iterator) = next {
            let page = self.read(&iterator).await.expect("a page");
            records.extend(page.records);
            next = page.next_iterator.filter(|_| page.behind_ms > 0);
            self.sleep(2_000).await;
        }
        records
    }

    async fn sleep(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_iterator_expires_after_five_minutes() {
    let world = World::new(1);
    let iterator = world.iterator(FIRST, ReadFrom::At(BEGIN_EPOCH_MS)).await.expect("an iterator");
    world.sleep(299_000).await;
    assert!(world.read(&iterator).await.is_ok());
    world.sleep(2_000).await;
    assert_eq!(world.read(&iterator).await, Err(ReadError::IteratorExpired));
}

#[tokio::test(start_paused = true)]
async fn a_shard_answers_five_calls_a_second_and_two_megabytes() {
    let world = World::new(1);
    for number in 0..12 {
        world.put(&number.to_string(), 900_000).await;
        world.sleep(1_000).await;
    }
    let iterator = world.iterator(FIRST, ReadFrom::At(BEGIN_EPOCH_MS)).await.expect("an iterator");
    let page = world.read(&iterator).await.expect("a page");
    assert_eq!(page.records.len(), 11, "10 MiB");
    let tip = world.iterator(FIRST, ReadFrom::At(world.clock.epoch_ms())).await.expect("a tip");
    world.sleep(4_000).await;
    assert!(
        matches!(world.read(&tip).await, Err(ReadError::Throttled { .. })),
        "five seconds' worth"
    );
    world.sleep(2_000).await;
    for call in 0..6 {
        assert_eq!(world.read(&tip).await.is_ok(), call < 5, "call {call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_read_to_its_end_and_its_children_know_it() {
    let world = World::new(2);
    for number in 0..40 {
        world.put(&number.to_string(), 10).await;
    }
    world.stream.update_shard_count(3, world.clock.epoch_ms()).expect("a reshard");
    world.sleep(300_000).await;
    for number in 40..80 {
        world.put(&number.to_string(), 10).await;
    }
    let shards = (&world.stream).list_shards_since(BEGIN_EPOCH_MS).await.expect("shards");
    assert_eq!(shards.len(), 5);
    assert!(shards[2..].iter().all(|shard| !shard.parents.is_empty()));
    let mut records = 0;
    for shard in &shards {
        records += world.read_all(&shard.id, ReadFrom::At(BEGIN_EPOCH_MS)).await.len();
    }
    assert_eq!(records, 80);
    let now_ms = world.clock.epoch_ms();
    let open = (&world.stream).list_shards_since(now_ms).await.expect("shards");
    assert_eq!(open.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_after_a_record_and_sees_how_far_behind_it_is() {
    let world = World::new(1);
    for number in 0..10 {
        world.put(&number.to_string(), 10).await;
    }
    world.sleep(6 * 3_600_000).await;
    let all = world.read_all(FIRST, ReadFrom::At(BEGIN_EPOCH_MS)).await;
    assert_eq!(all.len(), 10);
    let after = ReadFrom::After(all[6].sequence_number.clone());
    let iterator = world.iterator(FIRST, after.clone()).await.expect("an iterator");
    let page = world.read(&iterator).await.expect("a page");
    assert!(page.behind_ms > 5 * 3_600_000, "a call walks over a bounded stretch");
    assert_eq!(world.read_all(FIRST, after).await, all[7..]);
    let foreign = ReadFrom::After("9".repeat(56));
    assert!(matches!(world.iterator(FIRST, foreign).await, Err(ReadError::Permanent { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_retention_is_gone() {
    let world = World::new(1);
    world.put("old", 10).await;
    let limits = ReadLimits { retention_ms: 3_600_000, ..ReadLimits::default() };
    world.stream.set_read_limits(limits);
    world.sleep(3_600_000).await;
    world.put("new", 10).await;
    let records = world.read_all(FIRST, ReadFrom::At(BEGIN_EPOCH_MS)).await;
    let keys: Vec<&str> = records.iter().map(|record| record.partition_key.as_str()).collect();
    assert_eq!(keys, ["new"]);
}

//! The account as the scaling functions see it: the ports that they ask, played by a [`World`].
//!
//! Every call answers at once, so that an invocation is one poll of its future.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluice::ports::{
    Alarm, AlarmState, Alarms, Clock, ControlError, DataPoint, EmitMetrics, MetricQuery,
    QueueMapping, ReadConcurrency, ReadMetrics, ScaleStream, SetConcurrency, Shard, StreamSummary,
};
use sluice_simulated::stream::ApiError;

use crate::what_if::world::World;

const MINUTE_MS: u64 = 60_000;

/// What the scaling functions keep beside the stream.
#[derive(Debug, Default)]
pub struct Stack {
    /// The stream's tags.
    pub tags: BTreeMap<String, String>,
    /// The stream's alarms.
    pub alarms: Vec<Alarm>,
    /// The processors' reserved concurrency.
    pub reserved: u32,
}

impl Stack {
    fn alarm(&mut self, name: &str) -> &mut Alarm {
        let found = self.alarms.iter_mut().find(|alarm| alarm.name == name);
        found.expect("an alarm of this stream")
    }
}

/// One account for the length of one invocation.
pub struct Account<'s, 'w, 't> {
    world: RefCell<&'s mut World<'t>>,
    stack: RefCell<&'w mut Stack>,
    /// The last line of metrics, which holds the decision.
    emitted: RefCell<String>,
}

impl<'s, 'w, 't> Account<'s, 'w, 't> {
    /// The account of `world`.
    pub fn new(world: &'s mut World<'t>, stack: &'w mut Stack) -> Self {
        Self { world: RefCell::new(world), stack: RefCell::new(stack), emitted: RefCell::default() }
    }

    /// The last line of metrics.
    #[must_use]
    pub fn into_emitted(self) -> String {
        self.emitted.into_inner()
    }
}

fn answer(call: &'static str, result: Result<(), ApiError>) -> Result<(), ControlError> {
    result.map_err(|ApiError { code, detail }| ControlError { call, code, detail })
}

impl ScaleStream for &Account<'_, '_, '_> {
    async fn describe_stream(&self) -> Result<StreamSummary, ControlError> {
        let world = self.world.borrow();
        let (status, open_shards) = (world.status(), world.open_shards());
        Ok(StreamSummary { status, open_shards, shard_metrics: BTreeSet::new() })
    }

    async fn list_open_shards(&self) -> Result<Vec<Shard>, ControlError> {
        Ok(self.world.borrow().shards())
    }

    async fn update_shard_count(&self, target: u32) -> Result<(), ControlError> {
        let result = self.world.borrow_mut().update_shard_count(target, "");
        answer("UpdateShardCount", result)
    }

    async fn split_shard(&self, shard_id: &str, at: u128) -> Result<(), ControlError> {
        answer("SplitShard", self.world.borrow_mut().split_shard(shard_id, at, ""))
    }

    async fn merge_shards(&self, shard_id: &str, adjacent_id: &str) -> Result<(), ControlError> {
        answer("MergeShards", self.world.borrow_mut().merge_shards(shard_id, adjacent_id, ""))
    }

    async fn enable_shard_metrics(&self, _: &BTreeSet<String>) -> Result<(), ControlError> {
        unreachable!("the load is even, and shard-level metrics are off")
    }

    async fn disable_shard_metrics(&self, _: &BTreeSet<String>) -> Result<(), ControlError> {
        unreachable!("the load is even, and shard-level metrics are off")
    }

    async fn list_tags(&self) -> Result<BTreeMap<String, String>, ControlError> {
        Ok(self.stack.borrow().tags.clone())
    }

    async fn add_tags(&self, tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
        self.stack.borrow_mut().tags.extend(tags.clone());
        Ok(())
    }
}

impl Alarms for &Account<'_, '_, '_> {
    async fn describe_alarms(&self, names: &[String]) -> Result<Vec<Alarm>, ControlError> {
        let stack = self.stack.borrow();
        Ok(stack.alarms.iter().filter(|alarm| names.contains(&alarm.name)).cloned().collect())
    }

    async fn put_alarm_threshold(&self, alarm: &str, threshold: f64) -> Result<(), ControlError> {
        self.stack.borrow_mut().alarm(alarm).threshold = threshold;
        Ok(())
    }

    async fn rearm_alarm(&self, alarm: &str) -> Result<(), ControlError> {
        self.stack.borrow_mut().alarm(alarm).state = AlarmState::InsufficientData;
        Ok(())
    }
}

impl ReadMetrics for &Account<'_, '_, '_> {
    async fn get_metrics(
        &self,
        queries: &[MetricQuery],
        from_ms: u64,
        to_ms: u64,
    ) -> Result<Vec<Vec<DataPoint>>, ControlError> {
        let mut world = self.world.borrow_mut();
        world.effort.metrics_read += queries.len() as f64;
        let minutes = from_ms / MINUTE_MS..=to_ms / MINUTE_MS;
        let points = |query: &MetricQuery| {
            let point = |minute| {
                let value = value(&world, &query.name, world.minute_number(minute)?)?;
                Some(DataPoint { epoch_ms: minute * MINUTE_MS, value })
            };
            minutes.clone().filter_map(point).collect()
        };
        Ok(queries.iter().map(points).collect())
    }
}

/// What CloudWatch shows of one minute now.
fn value(world: &World<'_>, metric: &str, number: usize) -> Option<f64> {
    let records = |bytes: f64| bytes / world.settings.record_bytes;
    let payloads = |bytes: f64| bytes / world.settings.payload_bytes;
    match metric {
        // The processors' own metrics come at high resolution.
        "WantedBytes" => Some(world.metrics.taken_in_minute(number)).filter(|&bytes| bytes > 0.0),
        "WantedRecords" => value(world, "WantedBytes", number).map(records),
        // Processors that are paced to what the stream takes are done within a second.
        "ProcessingTime" | "GetRecords.IteratorAgeMilliseconds" => None,
        _ => {
            let minute = world.metrics.minute(number)?;
            match metric {
                "IncomingBytes" => Some(minute.taken),
                "IncomingRecords" => Some(records(minute.taken)),
                "WriteProvisionedThroughputExceeded" => Some(records(minute.refused)),
                "AsyncEventAge" => Some(minute.queue_age_seconds as f64 * 1e3),
                "AsyncEventsReceived" => Some(payloads(minute.arrived)),
                "Invocations" => Some(payloads(minute.taken)),
                _ => unreachable!("{metric} is not a metric of this world"),
            }
        }
    }
}

impl ReadConcurrency for &Account<'_, '_, '_> {
    async fn get_reserved_concurrency(&self, _: &str) -> Result<Option<u32>, ControlError> {
        Ok(Some(self.stack.borrow().reserved))
    }
}

impl SetConcurrency for &Account<'_, '_, '_> {
    async fn find_queue_mapping(&self, _: &str) -> Result<Option<QueueMapping>, ControlError> {
        Ok(None)
    }

    async fn put_mapping_concurrency(&self, _: &str, _: u32) -> Result<(), ControlError> {
        unreachable!("no queue is before the processor")
    }

    async fn get_reservable_concurrency(&self) -> Result<u32, ControlError> {
        // An account whose quota is no obstacle.
        Ok(u32::MAX)
    }

    async fn put_reserved_concurrency(&self, _: &str, reserved: u32) -> Result<(), ControlError> {
        self.stack.borrow_mut().reserved = reserved;
        self.world.borrow_mut().set_concurrency(reserved);
        Ok(())
    }
}

impl EmitMetrics for &Account<'_, '_, '_> {
    fn emit(&self, line: &str) {
        line.clone_into(&mut self.emitted.borrow_mut());
    }
}

/// The moment of an invocation.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub epoch_ms: u64,
}

impl Clock for Moment {
    fn epoch_ms(&self) -> u64 {
        self.epoch_ms
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.epoch_ms)
    }

    async fn sleep(&self, _: Duration) {}
}

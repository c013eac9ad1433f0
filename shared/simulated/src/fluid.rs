//! Load as a fluid: what a second brings and carries away, so that a day takes a second.
//!
//! Arrivals wait in Lambda's queue, first in, first out; a processor that is free takes the next at
//! once: Lambda's pauses between tries are left out, so that what waits after a spike is later in
//! truth (`sluice what-if` plays them). Each processor sends up to its own rate. What a shard refuses keeps its processors busy and is
//! offered again every second, for [`TRIES_SECONDS`], then goes to the dead-letter queue; so does
//! what waited for [`ASYNC_EVENT_AGE_SECONDS_MAX`].

use std::collections::VecDeque;

use sluice::limits::ASYNC_EVENT_AGE_SECONDS_MAX;
use sluice::scaling::Rate;

use crate::stream::{Stream, Traffic};

/// A processor offers refused records for so long: ten tries with full jitter take 11 s on average.
pub const TRIES_SECONDS: u64 = 10;
/// Less than this many bytes is nothing.
const NOTHING: f64 = 1e-6;

/// What one second brings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Arrival {
    /// Bytes and records, as they will be put.
    pub rate: Rate,
    /// A hash key, and the share of the records that go there.
    pub hot: Option<(u128, f64)>,
}

/// Something on its way.
#[derive(Debug, Clone, Copy)]
struct Parcel {
    since: u64,
    first_try: u64,
    amount: Rate,
    /// Where it must go; `None` is anywhere.
    hash: Option<u128>,
}

/// What happened in a stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Came in.
    pub arrived: Rate,
    /// Was taken by a processor.
    pub wanted: Rate,
    /// The oldest that a processor took had waited this long.
    pub queue_seconds: u64,
    /// Was accepted: seconds behind, records.
    pub lags: Vec<(u64, f64)>,
    /// Was accepted: seconds in the processor, records.
    pub processing: Vec<(u64, f64)>,
}

/// The load and everything that is on its way.
pub struct Fluid {
    arrivals: Box<dyn FnMut(u64) -> Arrival>,
    /// What one processor sends a second.
    processor: Rate,
    queue: VecDeque<Parcel>,
    retries: VecDeque<Parcel>,
    shares: Vec<(usize, u128, f64)>,
    traffic: Vec<Traffic>,
    /// Came in since the begin.
    pub arrived: Rate,
    /// Was accepted since the begin.
    pub delivered: Rate,
    /// Went to a dead-letter queue since the begin.
    pub dead: Rate,
    /// The longest that anything delivered was behind.
    pub lag_seconds_max: u64,
    /// Since it was last taken.
    tally: Tally,
    /// Since it was last taken.
    wanted: Rate,
}

impl Fluid {
    /// A load whose arrivals are a function of the epoch second.
    pub fn new(processor: Rate, arrivals: impl FnMut(u64) -> Arrival + 'static) -> Self {
        Self {
            arrivals: Box::new(arrivals),
            processor,
            queue: VecDeque::new(),
            retries: VecDeque::new(),
            shares: Vec::new(),
            traffic: Vec::new(),
            arrived: Rate::default(),
            delivered: Rate::default(),
            dead: Rate::default(),
            lag_seconds_max: 0,
            tally: Tally::default(),
            wanted: Rate::default(),
        }
    }

    /// What is on its way.
    #[must_use]
    pub fn waiting(&self) -> Rate {
        let parcels = self.queue.iter().chain(&self.retries);
        parcels.fold(Rate::default(), |sum, parcel| sum.plus(parcel.amount))
    }

    /// What happened since this was last asked.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// What processors took since this was last asked.
    pub fn take_wanted(&mut self) -> Rate {
        std::mem::take(&mut self.wanted)
    }

    /// Hands what each shard took and refused to the stream, and looks at its shards anew.
    pub fn flush(&mut self, stream: &Stream) {
        for (&(number, ..), traffic) in self.shares.iter().zip(self.traffic.drain(..)) {
            if traffic != Traffic::default() {
                stream.count(number, traffic);
            }
        }
        self.shares.clear();
        let shards = stream.shards();
        let share = |width: u128| (width as f64 + 1.0) / (u128::MAX as f64);
        let shares =
            shards.open().map(|(number, shard)| (number, shard.from, share(shard.width())));
        self.shares.extend(shares);
        self.traffic.resize(self.shares.len(), Traffic::default());
    }

    /// One second with `concurrency` processors.
    pub fn second(&mut self, second: u64, concurrency: u32, stream: &Stream) {
        let arrival = (self.arrivals)(second);
        self.arrive(second, arrival);
        while self
            .queue
            .front()
            .is_some_and(|p| second - p.since > u64::from(ASYNC_EVENT_AGE_SECONDS_MAX))
        {
            let parcel = self.queue.pop_front().expect("just seen");
            self.dead = self.dead.plus(parcel.amount);
        }
        let sent = self.take(second, concurrency);
        self.put(second, sent, stream);
    }

    fn arrive(&mut self, second: u64, arrival: Arrival) {
        self.arrived = self.arrived.plus(arrival.rate);
        self.tally.arrived = self.tally.arrived.plus(arrival.rate);
        let mut add = |share: f64, hash| {
            let amount = arrival.rate.times(share);
            if amount.bytes > NOTHING {
                self.queue.push_back(Parcel { since: second, first_try: 0, amount, hash });
            }
        };
        match arrival.hot {
            None => add(1.0, None),
            Some((hash, share)) => {
                add(1.0 - share, None);
                add(share, Some(hash));
            }
        }
    }

    /// What the processors hold in this second: what was refused before, then the queue.
    fn take(&mut self, second: u64, concurrency: u32) -> Vec<Parcel> {
        let capacity = self.processor.times(f64::from(concurrency));
        let mut free = 1.0;
        let mut sent = Vec::with_capacity(self.retries.len() + 4);
        for parcel in self.retries.drain(..) {
            free -= parcel.amount.utilization_of(capacity);
            sent.push(parcel);
        }
        while free > 1e-9
            && let Some(front) = self.queue.front_mut()
        {
            let whole = front.amount.utilization_of(capacity);
            let part = (free / whole).min(1.0);
            let amount = front.amount.times(part);
            sent.push(Parcel { first_try: second, amount, ..*front });
            self.tally.wanted = self.tally.wanted.plus(amount);
            self.wanted = self.wanted.plus(amount);
            self.tally.queue_seconds = self.tally.queue_seconds.max(second - front.since);
            free -= whole * part;
            if part < 1.0 {
                front.amount = front.amount.times(1.0 - part);
                break;
            }
            self.queue.pop_front();
        }
        sent
    }

    fn put(&mut self, second: u64, sent: Vec<Parcel>, stream: &Stream) {
        let limits = stream.limits();
        let shard = Rate {
            bytes: limits.shard_bytes_per_second as f64,
            records: limits.shard_records_per_second as f64,
        };
        let mut even = Rate::default();
        let mut hot: Vec<(usize, Rate)> = Vec::new();
        for parcel in &sent {
            match parcel.hash {
                None => even = even.plus(parcel.amount),
                Some(hash) => hot.push((self.place_of(hash), parcel.amount)),
            }
        }
        // The share of what each shard is offered that it takes.
        let mut taken = Vec::with_capacity(self.shares.len());
        let mut even_taken = 0.0;
        for (place, &(_, _, share)) in self.shares.iter().enumerate() {
            let mut offered = even.times(share);
            for (_, amount) in hot.iter().filter(|(of, _)| *of == place) {
                offered = offered.plus(*amount);
            }
            // A hair over the limit is the limit: shares are no binary fractions.
            let over = offered.utilization_of(shard);
            let part = if over > 1.0 + 1e-9 { 1.0 / over } else { 1.0 };
            self.traffic[place].add(Traffic {
                bytes: offered.bytes * part,
                records: offered.records * part,
                refused: offered.records * (1.0 - part),
            });
            even_taken += share * part;
            taken.push(part);
        }
        for parcel in sent {
            let part = match parcel.hash {
                None => even_taken.min(1.0),
                Some(hash) => taken[self.place_of(hash)],
            };
            self.settle(second, parcel, if part > 1.0 - 1e-9 { 1.0 } else { part });
        }
    }

    fn settle(&mut self, second: u64, parcel: Parcel, part: f64) {
        let lag = second - parcel.since;
        let accepted = parcel.amount.times(part);
        self.delivered = self.delivered.plus(accepted);
        if accepted.bytes > NOTHING {
            self.lag_seconds_max = self.lag_seconds_max.max(lag);
            self.tally.lags.push((lag, accepted.records));
            self.tally.processing.push((second - parcel.first_try, accepted.records));
        }
        let rest = parcel.amount.times(1.0 - part);
        if part == 1.0 {
            return;
        }
        if second - parcel.first_try >= TRIES_SECONDS {
            self.dead = self.dead.plus(rest);
        } else {
            self.retries.push_back(Parcel { amount: rest, ..parcel });
        }
    }

    fn place_of(&self, hash: u128) -> usize {
        self.shares.partition_point(|&(_, from, _)| from <= hash) - 1
    }
}

/// The value that `percent` of the weight lies at or under.
#[must_use]
pub fn percentile(weighted: &mut [(u64, f64)], percent: f64) -> u64 {
    weighted.sort_unstable_by_key(|&(value, _)| value);
    let whole: f64 = weighted.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    for &(value, weight) in &*weighted {
        sum += weight;
        if sum >= whole * percent / 100.0 - 1e-9 {
            return value;
        }
    }
    weighted.last().map_or(0, |&(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VirtualClock;

    const PROCESSOR: Rate = Rate { bytes: 1e6, records: 1e3 };

    fn run(arrivals: impl FnMut(u64) -> Arrival + 'static, shards: usize, seconds: u64) -> Fluid {
        let stream = Stream::new(VirtualClock::begin(), shards);
        let mut fluid = Fluid::new(PROCESSOR, arrivals);
        fluid.flush(&stream);
        for second in 0..seconds {
            fluid.second(second, shards as u32, &stream);
        }
        let placed = fluid.delivered.plus(fluid.dead).plus(fluid.waiting());
        assert!((placed.bytes - fluid.arrived.bytes).abs() < 1.0);
        fluid
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_fits_is_delivered_at_once() {
        let rate = Rate { bytes: 3.9e6, records: 100.0 };
        let fluid = run(move |_| Arrival { rate, hot: None }, 4, 100);
        assert_eq!(fluid.lag_seconds_max, 0);
        assert!(fluid.waiting().bytes < 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_spike_waits_and_drains() {
        let rate = |second| Rate { bytes: if second < 10 { 8e6 } else { 0.0 }, records: 1.0 };
        let fluid = run(move |second| Arrival { rate: rate(second), hot: None }, 4, 100);
        assert_eq!(fluid.lag_seconds_max, 10);
        assert!(fluid.waiting().bytes < 1.0);
        assert!(fluid.dead.bytes < 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_hotter_than_a_shard_ends_in_the_dead_letter_queue() {
        let rate = Rate { bytes: 3e6, records: 100.0 };
        let fluid = run(move |_| Arrival { rate, hot: Some((7, 0.5)) }, 4, 100);
        assert!(fluid.dead.bytes > 1e6);
    }
}

//! What an invocation reports: EMF lines.

use sluice::delivery::{Answer, DeadLetter};
use sluice::limits::EMF_VALUES_MAX;
use sluice::logs::{Batch, Payload};
use sluice::ports::EmitMetrics;
use sluice::records::{Packing, PutReport, Record};
use sluice::telemetry::{EmfLine, Outcome, OutcomesByMinute, Unit};

use crate::config::Config;

/// Lag values a line: enough for percentiles over many invocations, few enough that the line stays
/// small beside the payload.
const LAG_VALUES_MAX: usize = 10;

/// What one queue was given.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    messages: u64,
    log_events: u64,
}

impl Place {
    /// It has this one, too.
    pub fn add(&mut self, dead_letter: &DeadLetter) {
        self.messages += 1;
        self.log_events += dead_letter.log_events.unwrap_or(0) as u64;
    }

    fn plus(&mut self, other: Self) {
        self.messages += other.messages;
        self.log_events += other.log_events;
    }
}

/// What the two queues were given.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Places {
    pub dead_letters: Place,
    pub quarantined: Place,
}

/// The counts of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Report {
    arrived_ms: u64,
    /// Events that cannot be decoded, each with an unknown number of log events.
    pub undecodable: u64,
    /// Tests of whether the function can be reached.
    pub control_messages: u64,
    hand_overs_failed: u64,
    /// Events of earlier payloads that came in and were left out without a line.
    pub unforwarded: u64,
    events_in: u64,
    events_delivered: u64,
    events_filtered: u64,
    events_lost: u64,
    places: Places,
    bytes_in: u64,
    wanted_bytes: u64,
    wanted_records: u64,
    bytes_out: u64,
    records_out: u64,
    put_units: u64,
    put_calls: u64,
    records_throttled: u64,
    records_failed: u64,
    records_unknown: u64,
    lag_in_ms: Vec<u64>,
    lag_out_ms: Vec<u64>,
    by_minute: OutcomesByMinute,
    processing_ms: Vec<u64>,
    /// Whether a payload of anybody else's logs came.
    has_news: bool,
}

impl Report {
    pub fn new(arrived_ms: u64) -> Self {
        Self { arrived_ms, ..Self::default() }
    }

    /// When the invocation began, in milliseconds since 1970.
    pub fn arrived_ms(&self) -> u64 {
        self.arrived_ms
    }

    /// What came in and what is wanted of the stream.
    pub fn saw(&mut self, payload: &Payload<'_>, batch: &Batch, packing: &Packing) {
        self.has_news = true;
        self.events_in += payload.events() as u64;
        self.events_filtered += batch.filtered.len() as u64;
        self.bytes_in += payload.bytes as u64;
        self.wanted_records += packing.records.len() as u64;
        let bytes = packing.records.iter().map(|packed| packed.record.bytes() as u64);
        self.wanted_bytes += bytes.sum::<u64>();
        let timestamps = payload.log_events.iter().map(|event| event.timestamp_ms).collect();
        self.lag_in_ms.extend(lags_ms(timestamps, self.arrived_ms));
    }

    /// What the stream took. `undelivered` are the events that it did not, ascending.
    pub fn put(
        &mut self,
        put: &PutReport,
        records: &[Record],
        payload: &Payload<'_>,
        batch: &Batch,
        items: &[std::ops::Range<usize>],
        now_ms: u64,
    ) {
        let mut timestamps = Vec::with_capacity(payload.log_events.len());
        for (index, record) in records.iter().enumerate() {
            if put.remaining.binary_search(&index).is_ok() {
                continue;
            }
            self.records_out += 1;
            self.bytes_out += record.bytes() as u64;
            self.put_units += record.put_units();
            let delivered = &batch.items[items[index].clone()];
            timestamps
                .extend(delivered.iter().map(|item| payload.log_events[item.event].timestamp_ms));
        }
        self.events_delivered += timestamps.len() as u64;
        self.put_calls += put.calls;
        self.records_throttled += put.throttled;
        self.records_failed += put.failed;
        self.records_unknown += put.unknown;
        self.lag_out_ms.extend(lags_ms(timestamps, now_ms));
    }

    /// What became of each log event, and when that was certain. The time of a replay is not told:
    /// scaling and the alarms take it for what live events wait.
    pub fn settled(
        &mut self,
        payload: &Payload<'_>,
        outcomes: &[Outcome],
        is_replay: bool,
        now_ms: u64,
    ) {
        self.events_lost +=
            outcomes.iter().filter(|&&outcome| outcome == Outcome::Lost).count() as u64;
        let timestamps = payload.log_events.iter().map(|event| event.timestamp_ms);
        // What is no log event has no minute that could be trusted.
        let timestamps = timestamps.chain(payload.odd_events.iter().map(|_| i64::MIN));
        self.by_minute.count(timestamps.zip(outcomes.iter().copied()), self.arrived_ms);
        if !is_replay {
            self.processing_ms.push(now_ms.saturating_sub(self.arrived_ms));
        }
    }

    /// What the queues took.
    pub fn handed_over(&mut self, places: Places) {
        self.places.dead_letters.plus(places.dead_letters);
        self.places.quarantined.plus(places.quarantined);
    }

    /// Whether there is anything to tell: log groups of Sluice itself are none.
    pub fn has_news(&self) -> bool {
        self.has_news || self.undecodable + self.control_messages + self.hand_overs_failed > 0
    }

    pub fn hand_over_failed(&mut self) {
        self.hand_overs_failed += 1;
    }

    /// What became of the events.
    pub fn answer(&self) -> Answer {
        let Places { dead_letters, quarantined } = self.places;
        Answer {
            events_in: self.events_in,
            events_delivered: self.events_delivered,
            events_filtered: self.events_filtered,
            events_dead_lettered: dead_letters.log_events,
            events_quarantined: quarantined.log_events,
            dead_letters: dead_letters.messages,
            quarantined: quarantined.messages,
        }
    }

    /// One EMF line for the invocation, and one for each minute in which its events happened.
    pub fn emit(&self, config: &Config, metrics: &impl EmitMetrics) {
        let dimensions =
            [("StreamName", &*config.stream_name), ("FunctionName", &*config.function_name)];
        metrics.emit(&self.to_line(&dimensions));
        for line in self.by_minute.to_lines(&dimensions) {
            metrics.emit(&line);
        }
    }

    /// All metrics of the invocation itself, zeros among them: what is not there cannot be summed
    /// up by who reads the line.
    fn to_line(&self, dimensions: &[(&'static str, &str)]) -> String {
        let mut line = EmfLine::new(self.arrived_ms, dimensions);
        let few = |values: &Vec<u64>| thinned(values.clone(), EMF_VALUES_MAX);
        line.metric("EventsIn", Unit::Count, self.events_in + self.unforwarded)
            .metric("EventsDelivered", Unit::Count, self.events_delivered)
            .metric("EventsFiltered", Unit::Count, self.events_filtered + self.unforwarded)
            .metric("EventsDeadLettered", Unit::Count, self.places.dead_letters.log_events)
            .metric("EventsQuarantined", Unit::Count, self.places.quarantined.log_events)
            .metric("EventsLost", Unit::Count, self.events_lost)
            .metric("EventsOutsideMetricTime", Unit::Count, self.by_minute.outside)
            .metric("PayloadsUndecodable", Unit::Count, self.undecodable)
            .metric("ControlMessages", Unit::Count, self.control_messages)
            .metric("HandOversFailed", Unit::Count, self.hand_overs_failed)
            .metric("BytesIn", Unit::Bytes, self.bytes_in)
            .metric("BytesOut", Unit::Bytes, self.bytes_out)
            .metric("RecordsOut", Unit::Count, self.records_out)
            .metric("PutUnits", Unit::Count, self.put_units)
            .metric("PutTries", Unit::Count, self.put_calls)
            .metric("RecordsThrottled", Unit::Count, self.records_throttled)
            .metric("RecordsFailed", Unit::Count, self.records_failed)
            .metric("RecordsPossiblyDuplicated", Unit::Count, self.records_unknown)
            .metric_high_resolution("WantedBytes", Unit::Bytes, self.wanted_bytes)
            .metric_high_resolution("WantedRecords", Unit::Count, self.wanted_records)
            .values("LagIn", Unit::Milliseconds, &few(&self.lag_in_ms))
            .values("LagOut", Unit::Milliseconds, &few(&self.lag_out_ms))
            .values("ProcessingTime", Unit::Milliseconds, &few(&self.processing_ms));
        line.to_line()
    }
}

/// Lag of events behind `now_ms`, at evenly spaced ranks from the least to the most.
fn lags_ms(timestamps_ms: Vec<i64>, now_ms: u64) -> Vec<u64> {
    let lags = timestamps_ms
        .into_iter()
        .map(|timestamp_ms| now_ms.saturating_sub(u64::try_from(timestamp_ms).unwrap_or_default()))
        .collect();
    thinned(lags, LAG_VALUES_MAX)
}

/// So many of the values, at evenly spaced ranks from the least to the most.
fn thinned(mut values: Vec<u64>, values_max: usize) -> Vec<u64> {
    values.sort_unstable();
    if values.len() <= values_max {
        return values;
    }
    let last = values.len() - 1;
    (0..values_max).map(|rank| values[last * rank / (values_max - 1)]).collect()
}

//! What it costs. Prices are in `sluice::limits`, with their sources.

use serde::Serialize;
use sluice::limits::{
    ALARM_MONTH_DOLLARS, FAST_ALARM_MONTH_DOLLARS, LAMBDA_ARM_GB_SECOND_DOLLARS,
    LAMBDA_REQUESTS_MILLION_DOLLARS, METRICS_READ_THOUSAND_DOLLARS, PUT_UNIT_BYTES,
    PUT_UNITS_MILLION_DOLLARS, SHARD_HOUR_DOLLARS, SQS_REQUEST_BYTES, SQS_REQUESTS_MILLION_DOLLARS,
};

/// Days of a month, for what is billed by the month.
const MONTH_DAYS: f64 = 30.4;
/// Memory of every function: 128 MB, in GB.
const MEMORY_GB: f64 = 0.125;
/// Seconds that a wake-up of a scaling function is billed: a dozen calls, one after another.
const WAKE_UP_SECONDS: f64 = 0.5;
/// Seconds that the forwarder before a queue is billed: one SendMessage.
const FORWARD_SECONDS: f64 = 0.02;
/// Payloads in one ReceiveMessage and DeleteMessageBatch of an event source mapping.
const PAYLOADS_PER_RECEIVE: f64 = 10.0;
/// A compressed payload's share of its bytes, base64 included: what SQS is billed for.
const COMPRESSED_SHARE: f64 = 0.25;

/// Dollars by what they are for, over the whole time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bill {
    /// Shard-hours, or what on-demand bills for capacity and data.
    pub shards: f64,
    /// PUT payload units.
    pub puts: f64,
    /// The processors.
    pub lambda: f64,
    /// Scaling itself, and a queue where there is one.
    pub other: f64,
}

impl Bill {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.shards + self.puts + self.lambda + self.other
    }
}

/// So many shard-hours.
#[must_use]
pub fn shard_dollars(shard_hours: f64) -> f64 {
    shard_hours * SHARD_HOUR_DOLLARS
}

/// Putting `bytes` in records of `record_bytes`: units are rounded up for each record.
#[must_use]
pub fn put_dollars(bytes: f64, record_bytes: f64) -> f64 {
    let units_per_record = (record_bytes / PUT_UNIT_BYTES as f64).ceil().max(1.0);
    bytes / record_bytes * units_per_record * PUT_UNITS_MILLION_DOLLARS / 1e6
}

/// So many invocations of so many seconds.
#[must_use]
pub fn lambda_dollars(invocations: f64, seconds: f64) -> f64 {
    invocations
        * (LAMBDA_REQUESTS_MILLION_DOLLARS / 1e6
            + seconds * MEMORY_GB * LAMBDA_ARM_GB_SECOND_DOLLARS)
}

/// Processing `bytes` in payloads, each paced to `processor_bytes_per_second`: waiting is billed.
#[must_use]
pub fn processor_dollars(bytes: f64, payload_bytes: f64, processor_bytes_per_second: f64) -> f64 {
    lambda_dollars(bytes / payload_bytes, payload_bytes / processor_bytes_per_second)
}

/// A forwarder, a queue and its event source mapping before the processor.
#[must_use]
pub fn queue_dollars(bytes: f64, payload_bytes: f64) -> f64 {
    let payloads = bytes / payload_bytes;
    let units = (payload_bytes * COMPRESSED_SHARE / SQS_REQUEST_BYTES).ceil().max(1.0);
    let received = (payload_bytes * COMPRESSED_SHARE * PAYLOADS_PER_RECEIVE / SQS_REQUEST_BYTES)
        .ceil()
        .max(1.0);
    let requests = payloads * (units + (received + 1.0) / PAYLOADS_PER_RECEIVE);
    requests * SQS_REQUESTS_MILLION_DOLLARS / 1e6 + lambda_dollars(payloads, FORWARD_SECONDS)
}

/// What scaling did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ScalingEffort {
    /// Invocations of scaling functions.
    pub wake_ups: f64,
    /// Metrics read with GetMetricData.
    pub metrics_read: f64,
    /// Alarms on standard metrics.
    pub alarms: f64,
    /// Alarms on high-resolution metrics.
    pub fast_alarms: f64,
}

/// What scaling itself costs in so many days.
#[must_use]
pub fn scaling_dollars(effort: ScalingEffort, days: f64) -> f64 {
    let alarms_a_month =
        effort.alarms * ALARM_MONTH_DOLLARS + effort.fast_alarms * FAST_ALARM_MONTH_DOLLARS;
    lambda_dollars(effort.wake_ups, WAKE_UP_SECONDS)
        + effort.metrics_read / 1e3 * METRICS_READ_THOUSAND_DOLLARS
        + alarms_a_month * days / MONTH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_one_megabyte_a_second_costs_what_the_price_list_says() {
        let seconds = 730.0 * 3_600.0;
        let bytes = 1e6 * seconds;
        assert!((shard_dollars(730.0) - 10.95).abs() < 0.01);
        assert!((put_dollars(bytes, 25_000.0) - 1.47).abs() < 0.01);
        assert!((put_dollars(bytes, 1_000.0) - 36.8).abs() < 0.1);
        assert!((put_dollars(bytes, 100.0) - 368.0).abs() < 1.0);
    }

    #[test]
    fn a_record_a_byte_over_a_unit_is_billed_as_two() {
        assert!(
            (put_dollars(50_002.0, 25_001.0) / put_dollars(50_000.0, 25_000.0) - 2.0).abs() < 1e-9
        );
    }
}

//! What a Kinesis event source mapping hands over, and its answer.
//!
//! Not `aws_lambda_events`: it refuses a whole batch when the data of one record are not base64 or
//! its arrival is not a time, and here such a record must not hold up its shard. It also copies what
//! is borrowed here from the text that Lambda's runtime holds.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice::time;

/// A batch of one shard, in order.
#[derive(Debug, Deserialize)]
pub struct KinesisEvent<'a> {
    #[serde(borrow, rename = "Records")]
    pub records: Vec<KinesisRecord<'a>>,
}

/// One record and where it is from.
#[derive(Debug, Deserialize)]
pub struct KinesisRecord<'a> {
    /// `<shard>:<sequence number>`.
    #[serde(borrow, default, rename = "eventID")]
    event_id: Cow<'a, str>,
    #[serde(borrow, default, rename = "eventSourceARN")]
    pub stream_arn: Cow<'a, str>,
    #[serde(borrow)]
    pub kinesis: Kinesis<'a>,
}

/// A record as the stream holds it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kinesis<'a> {
    /// Its place in the shard.
    #[serde(borrow)]
    pub sequence_number: Cow<'a, str>,
    #[serde(borrow, default)]
    pub partition_key: Cow<'a, str>,
    /// Base64.
    #[serde(borrow)]
    pub data: Cow<'a, str>,
    /// Seconds since 1970, as the event has them; [`KinesisRecord::arrival`] reads them.
    #[serde(borrow, default)]
    pub approximate_arrival_timestamp: Option<&'a RawValue>,
}

/// The event is no batch of a Kinesis stream.
#[derive(Debug, thiserror::Error)]
#[error("the event is not a batch of a Kinesis event source mapping")]
pub struct NotAKinesisEvent(#[from] serde_json::Error);

impl<'a> KinesisEvent<'a> {
    /// Parses the JSON text that Lambda hands over.
    pub fn parse(event: &'a str) -> Result<Self, NotAKinesisEvent> {
        Ok(serde_json::from_str(event)?)
    }
}

impl KinesisRecord<'_> {
    pub fn shard_id(&self) -> &str {
        self.event_id.split_once(':').map_or("", |(shard, _)| shard)
    }

    /// When the record arrived, as the event has it if that is a time; else what it says instead, in
    /// short. A record is archived whatever stands there.
    pub fn arrival(&self) -> Value {
        let Some(raw) = self.kinesis.approximate_arrival_timestamp else { return Value::Null };
        let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        match time::read_json(&value) {
            Ok(_) => value,
            Err(_) if value.is_null() => value,
            Err(error) => Value::String(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Lambda developer guide's example, shortened.
    const EXAMPLE: &str = r#"{"Records": [{
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "1",
            "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
            "approximateArrivalTimestamp": 1545084650.987
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "us-east-2",
        "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
    }]}"#;

    #[test]
    fn a_batch_is_read_as_lambda_documents_it() {
        let event = KinesisEvent::parse(EXAMPLE).expect("a batch");
        let record = &event.records[0];
        assert_eq!(record.shard_id(), "shardId-000000000006");
        assert!(record.stream_arn.ends_with("stream/lambda-stream"));
        assert!(record.kinesis.sequence_number.starts_with("4959"));
        assert!(matches!(record.kinesis.data, Cow::Borrowed("SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==")));
        let arrival = record.kinesis.approximate_arrival_timestamp.map(RawValue::get);
        assert_eq!(arrival, Some("1545084650.987"));
    }

    #[test]
    fn an_arrival_time_is_told_as_it_came_or_named_as_none() {
        let arrival = |written: &str| {
            let event = EXAMPLE.replace("1545084650.987", written);
            let event = KinesisEvent::parse(&event).expect("a batch");
            event.records[0].arrival().to_string()
        };
        for time in ["1545084650.987", "1545084650", "1545084650987", "\"2026-11-21T08:00:00Z\""] {
            assert_eq!(arrival(time), time);
        }
        assert_eq!(arrival("1.545084650987E9"), "1545084650.987");
        assert_eq!(arrival("null"), "null");
        for other in ["\"soon\"", "{}", "1e300", "-1"] {
            let told = arrival(other);
            assert!(told.contains("is not a time") || told.contains("outside"), "{told}");
        }
        assert!(arrival(&format!("\"{}\"", "x".repeat(100_000))).len() < 400);
    }

    #[test]
    fn another_event_is_refused() {
        for event in ["{}", "[]", r#"{"Records":[{"s3":{}}]}"#, "not JSON", r#"{"awslogs":{}}"#] {
            assert!(KinesisEvent::parse(event).is_err(), "{event}");
        }
    }
}

//! A batch as the event of an event source mapping, with the mark: `"replayed": true`, at the top and
//! in each record.

use serde::Serialize;
use sluice::ports::StreamRecord;

/// What a record's event holds beside its data and its key, at the most.
const FRAME_BYTES: usize = 1_024;

/// The event of a batch out of one shard.
#[derive(Debug, Serialize)]
struct Event<'a> {
    replayed: bool,
    #[serde(rename = "Records")]
    records: Vec<Item<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    replayed: bool,
    kinesis: Payload<'a>,
    event_source: &'static str,
    event_version: &'static str,
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: &'static str,
    invoke_identity_arn: &'static str,
    aws_region: &'a str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    kinesis_schema_version: &'static str,
    partition_key: &'a str,
    sequence_number: &'a str,
    data: String,
    approximate_arrival_timestamp: f64,
}

/// The event with these records of one shard.
pub fn event(stream_arn: &str, shard_id: &str, records: &[StreamRecord]) -> String {
    let region = stream_arn.split(':').nth(3).unwrap_or_default();
    let records = records
        .iter()
        .map(|record| Item {
            replayed: true,
            kinesis: Payload {
                kinesis_schema_version: "1.0",
                partition_key: &record.partition_key,
                sequence_number: &record.sequence_number,
                data: base64_simd::STANDARD.encode_to_string(&record.data),
                approximate_arrival_timestamp: record.arrived_ms as f64 / 1_000.0,
            },
            event_source: "aws:kinesis",
            event_version: "1.0",
            event_id: format!("{shard_id}:{}", record.sequence_number),
            event_name: "aws:kinesis:record",
            invoke_identity_arn: "",
            aws_region: region,
            event_source_arn: stream_arn,
        })
        .collect();
    serde_json::to_string(&Event { replayed: true, records }).expect("text and numbers are JSON")
}

/// Bytes that a record takes in the event, at the most.
pub fn bytes_max(record: &StreamRecord) -> usize {
    // A control character in a key becomes six.
    record.data.len().div_ceil(3) * 4 + record.partition_key.len() * 6 + FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/logs";

    fn record() -> StreamRecord {
        StreamRecord {
            sequence_number: "49".to_owned(),
            partition_key: "k\"1".to_owned(),
            data: b"hello".to_vec(),
            arrived_ms: 1_795_219_200_250,
        }
    }

    #[test]
    fn a_function_gets_what_an_event_source_mapping_would_bring_and_the_mark() {
        let event: Value =
            serde_json::from_str(&event(ARN, "shardId-000000000007", &[record()])).expect("JSON");
        assert_eq!(
            event,
            json!({
                "replayed": true,
                "Records": [{
                    "replayed": true,
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0",
                        "partitionKey": "k\"1",
                        "sequenceNumber": "49",
                        "data": "aGVsbG8=",
                        "approximateArrivalTimestamp": 1_795_219_200.25,
                    },
                    "eventSource": "aws:kinesis",
                    "eventVersion": "1.0",
                    "eventID": "shardId-000000000007:49",
                    "eventName": "aws:kinesis:record",
                    "invokeIdentityArn": "",
                    "awsRegion": "eu-west-1",
                    "eventSourceARN": ARN,
                }],
            })
        );
    }

    #[test]
    fn no_record_takes_more_than_it_is_thought_to() {
        let long = StreamRecord {
            sequence_number: "4".repeat(128),
            partition_key: "\u{1}".repeat(256),
            data: vec![7; 1_000],
            ..record()
        };
        let arn =
            format!("arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/{}", "s".repeat(128));
        for record in [record(), long] {
            let one = event(&arn, "shardId-000000000007", std::slice::from_ref(&record)).len();
            let two = event(&arn, "shardId-000000000007", &[record.clone(), record.clone()]).len();
            assert!(two - one <= bytes_max(&record), "{} of {}", two - one, bytes_max(&record));
        }
    }
}

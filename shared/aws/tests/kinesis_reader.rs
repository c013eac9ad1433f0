//! The SDK adapters that read a stream, against a socket: what is sent, and what is made of each
//! answer.

mod socket;

use serde_json::{Value, json};
use sluice::ports::{
    PutReplayed, ReadError, ReadFrom, ReadStream, RecordsPage, ShardLineage, StreamHistory,
    StreamRecord,
};
use sluice::records::Record;
use sluice_aws::{KinesisReader, KinesisTargets};
use socket::{answer_once, connection, http};

fn reader(url: &str) -> KinesisReader {
    let connection = connection(&[("AWS_ENDPOINT_URL_KINESIS", url)]);
    KinesisReader::new(connection.kinesis(), "logs".to_owned())
}

#[tokio::test]
async fn a_stream_says_how_far_back_it_goes() {
    let body = r#"{"StreamDescriptionSummary":{
        "StreamName":"logs","StreamARN":"arn:aws:kinesis:eu-west-1:1:stream/logs",
        "StreamStatus":"ACTIVE","RetentionPeriodHours":48,"StreamCreationTimestamp":1795219200.5,
        "EnhancedMonitoring":[],"OpenShardCount":2}}"#;
    let (url, served) = answer_once(http("200 OK", body)).await;
    let history = StreamHistory {
        arn: "arn:aws:kinesis:eu-west-1:1:stream/logs".to_owned(),
        retention_ms: 172_800_000,
        created_ms: 1_795_219_200_500,
    };
    assert_eq!(reader(&url).describe_history().await, Ok(history));
    let (head, request) = served.await.expect("served");
    assert!(head.contains("kinesis_20131202.describestreamsummary"), "{head}");
    assert_eq!(request, json!({"StreamName": "logs"}));
}

#[tokio::test]
async fn shards_are_listed_from_a_time_on_with_their_parents() {
    let body = r#"{"Shards":[
        {"ShardId":"shardId-000000000000",
         "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"},
         "SequenceNumberRange":{"StartingSequenceNumber":"1","EndingSequenceNumber":"2"}},
        {"ShardId":"shardId-000000000002","ParentShardId":"shardId-000000000000",
         "AdjacentParentShardId":"shardId-000000000001",
         "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"},
         "SequenceNumberRange":{"StartingSequenceNumber":"3"}}]}"#;
    let (url, served) = answer_once(http("200 OK", body)).await;
    let id = |number: u8| format!("shardId-00000000000{number}");
    assert_eq!(
        reader(&url).list_shards_since(1_795_219_200_250).await,
        Ok(vec![
            ShardLineage { id: id(0), parents: Vec::new() },
            ShardLineage { id: id(2), parents: vec![id(0), id(1)] },
        ])
    );
    let (_, request) = served.await.expect("served");
    let filter = json!({"Type": "FROM_TIMESTAMP", "Timestamp": 1_795_219_200.25});
    assert_eq!(request, json!({"StreamName": "logs", "ShardFilter": filter}));
}

#[tokio::test]
async fn a_shard_is_read_from_a_time_or_after_a_record() {
    for (from, how) in [
        (
            ReadFrom::At(1_795_219_200_250),
            json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_795_219_200.25}),
        ),
        (
            ReadFrom::After("49".to_owned()),
            json!({"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "49"}),
        ),
    ] {
        let (url, served) = answer_once(http("200 OK", r#"{"ShardIterator":"it"}"#)).await;
        let iterator = reader(&url).get_shard_iterator("shardId-7", &from).await;
        assert_eq!(iterator, Ok("it".to_owned()));
        let (_, mut request) = served.await.expect("served");
        let members = request.as_object_mut().expect("an object");
        assert_eq!(members.remove("StreamName"), Some(json!("logs")));
        assert_eq!(members.remove("ShardId"), Some(json!("shardId-7")));
        assert_eq!(request, how);
    }
}

async fn page(status: &str, body: &str) -> (Result<RecordsPage, ReadError>, Value) {
    let (url, served) = answer_once(http(status, body)).await;
    let page = reader(&url).get_records("it", 1_000).await;
    (page, served.await.expect("served").1)
}

#[tokio::test]
async fn a_page_has_records_with_their_arrival_and_the_way_on() {
    let body = r#"{"Records":[{"SequenceNumber":"49","PartitionKey":"k","Data":"b25l",
        "ApproximateArrivalTimestamp":1795219200.25}],
        "NextShardIterator":"next","MillisBehindLatest":1500}"#;
    let (answer, request) = page("200 OK", body).await;
    let record = StreamRecord {
        sequence_number: "49".to_owned(),
        partition_key: "k".to_owned(),
        data: b"one".to_vec(),
        arrived_ms: 1_795_219_200_250,
    };
    let next_iterator = Some("next".to_owned());
    assert_eq!(answer, Ok(RecordsPage { records: vec![record], next_iterator, behind_ms: 1_500 }));
    assert_eq!(request, json!({"ShardIterator": "it", "Limit": 1_000}));
}

#[tokio::test]
async fn a_closed_shard_ends() {
    let body = r#"{"Records":[],"MillisBehindLatest":0,
        "ChildShards":[{"ShardId":"s","ParentShards":["p"],
            "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]}"#;
    assert_eq!(page("200 OK", body).await.0, Ok(RecordsPage::default()));
}

#[tokio::test]
async fn errors_are_sorted_by_what_may_come_of_another_call() {
    type Kind = fn(String, String) -> ReadError;
    let throttled: Kind = |code, detail| ReadError::Throttled { code, detail };
    let unknown: Kind = |code, detail| ReadError::Unknown { code, detail };
    let permanent: Kind = |code, detail| ReadError::Permanent { code, detail };
    let expired: Kind = |_, _| ReadError::IteratorExpired;
    for (status, code, kind) in [
        ("400 Bad Request", "ProvisionedThroughputExceededException", throttled),
        ("400 Bad Request", "LimitExceededException", throttled),
        ("400 Bad Request", "KMSThrottlingException", throttled),
        ("400 Bad Request", "ExpiredIteratorException", expired),
        ("400 Bad Request", "ResourceNotFoundException", permanent),
        ("400 Bad Request", "InvalidArgumentException", permanent),
        ("400 Bad Request", "AccessDeniedException", permanent),
        ("500 Internal Server Error", "InternalFailure", unknown),
    ] {
        let body = json!({ "__type": code, "message": "why" }).to_string();
        let expected = kind(code.to_owned(), "why".to_owned());
        assert_eq!(page(status, &body).await.0, Err(expected), "{code}");
    }
}

#[tokio::test]
async fn a_replayed_record_is_put_where_its_original_key_hashes() {
    let body = r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"s"}]}"#;
    let arn = "arn:aws:kinesis:eu-west-1:1:stream/copy";
    for (stream, named) in [("copy", "StreamName"), (arn, "StreamARN")] {
        let (url, served) = answer_once(http("200 OK", body)).await;
        let connection = connection(&[("AWS_ENDPOINT_URL_KINESIS", &url)]);
        let targets = KinesisTargets::new(connection.kinesis());
        let record = Record { partition_key: "replayed:a".to_owned(), data: b"one".to_vec() };
        assert_eq!(targets.put_replayed(stream, &[&record]).await, Ok(vec![None]));
        let (_, request) = served.await.expect("served");
        let entry = json!({
            "Data": "b25l",
            "PartitionKey": "replayed:a",
            "ExplicitHashKey": "16955237001963240173058271559858726497",
        });
        assert_eq!(request, json!({named: stream, "Records": [entry]}));
    }
}

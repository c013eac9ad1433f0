//! The SDK adapters against a socket: what is sent, and what is made of each answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice::aws::{Connection, KinesisStream, Queue};
use sluice::config::EnvReader;
use sluice::delivery::{DeadLetter, Occasion, Reason};
use sluice::ports::{PutError, PutRecords, SendDeadLetter};
use sluice::records::Record;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const OCCASION: Occasion = Occasion { now_ms: 1_795_219_200_000, replay: None };

/// Answers one request with `answer`, byte for byte, and returns what was asked.
async fn answer_once(answer: String) -> (String, JoinHandle<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let served = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let (head, body) = read_request(&mut socket).await;
        socket.write_all(answer.as_bytes()).await.expect("the client listens");
        socket.shutdown().await.expect("the client listens");
        (head, serde_json::from_slice(&body).unwrap_or_default())
    });
    (url, served)
}

async fn read_request(socket: &mut TcpStream) -> (String, Vec<u8>) {
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = socket.read(&mut chunk).await.expect("a request");
        assert!(read > 0, "the request ends early");
        request.extend_from_slice(&chunk[..read]);
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.trim().parse().ok())
            .expect("a content length");
        if request.len() >= end + 4 + length {
            return (head, request[end + 4..].to_vec());
        }
    }
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn connection(variables: &[(&'static str, &str)]) -> Connection {
    let mut all = BTreeMap::from([
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session"),
    ]);
    all.extend(variables.iter().copied());
    let lookup = |name: &str| all.get(name).map(|value| (*value).to_owned());
    let mut env = EnvReader::new(&lookup);
    let connection = Connection::read(&mut env);
    env.finish(connection).expect("a good environment")
}

fn records() -> [Record; 2] {
    ["one", "two"].map(|text| Record { partition_key: format!("key {text}"), data: text.into() })
}

async fn put(url: &str) -> Result<Vec<Option<String>>, PutError> {
    let connection = connection(&[("AWS_ENDPOINT_URL_KINESIS", url)]);
    let stream = KinesisStream::new(connection.kinesis(), "logs".to_owned());
    let [one, two] = records();
    let answer = stream.put_records(&[&one, &two]).await?;
    Ok(answer.into_iter().map(|refusal| refusal.map(|refusal| refusal.code)).collect())
}

#[tokio::test]
async fn records_are_put_by_stream_name_signed_and_in_order() {
    let body = r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"s"},
        {"SequenceNumber":"2","ShardId":"s"}]}"#;
    let (url, served) = answer_once(http("200 OK", body)).await;
    assert_eq!(put(&url).await, Ok(vec![None, None]));
    let (head, request) = served.await.expect("served");
    assert!(head.contains("x-amz-target: kinesis_20131202.putrecords"), "{head}");
    assert!(head.contains("credential=key/") && head.contains("x-amz-security-token: session"));
    assert_eq!(
        request,
        json!({
            "StreamName": "logs",
            "Records": [
                {"Data": "b25l", "PartitionKey": "key one"},
                {"Data": "dHdv", "PartitionKey": "key two"},
            ],
        })
    );
}

#[tokio::test]
async fn a_200_with_refused_entries_names_them_by_place() {
    let body = r#"{"FailedRecordCount":1,"Records":[
        {"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"slow down"},
        {"SequenceNumber":"2","ShardId":"s"}]}"#;
    let (url, _served) = answer_once(http("200 OK", body)).await;
    let refused = Some("ProvisionedThroughputExceededException".to_owned());
    assert_eq!(put(&url).await, Ok(vec![refused, None]));
}

#[tokio::test]
async fn errors_are_sorted_by_whether_they_can_pass() {
    type Kind = fn(String, String) -> PutError;
    let permanent: Kind = |code, detail| PutError::Permanent { code, detail };
    let transient: Kind = |code, detail| PutError::Transient { code, detail };
    let unknown: Kind = |code, detail| PutError::Unknown { code, detail };
    for (status, code, kind) in [
        ("400 Bad Request", "ResourceNotFoundException", permanent),
        ("400 Bad Request", "AccessDeniedException", permanent),
        ("400 Bad Request", "KMSDisabledException", permanent),
        ("400 Bad Request", "ValidationException", permanent),
        ("400 Bad Request", "ProvisionedThroughputExceededException", transient),
        ("400 Bad Request", "KMSThrottlingException", transient),
        ("500 Internal Server Error", "InternalFailure", unknown),
        ("503 Service Unavailable", "Whatever", unknown),
    ] {
        let body = json!({ "__type": code, "message": "why" }).to_string();
        let (url, _served) = answer_once(http(status, &body)).await;
        assert_eq!(put(&url).await, Err(kind(code.to_owned(), "why".to_owned())));
    }
}

#[tokio::test]
async fn a_call_without_a_whole_answer_may_succeed_later() {
    let whole = http("200 OK", r#"{"Records":[{"SequenceNumber":"1"},{"SequenceNumber":"2"}]}"#);
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-le", &whole[..whole.len() - 10]] {
        let (url, _served) = answer_once(answer.to_owned()).await;
        let error = put(&url).await.expect_err("no whole answer");
        assert!(matches!(error, PutError::Unknown { .. }), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_may_succeed_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let error = put(&url).await.expect_err("nobody listens");
    assert!(matches!(error, PutError::Unknown { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dead_letter_carries_its_reason_as_attributes() {
    let (url, served) = answer_once(http("200 OK", r#"{"MessageId":"1"}"#)).await;
    // The general endpoint serves where there is none for the service.
    let connection = connection(&[
        ("AWS_ENDPOINT_URL", &url),
        ("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:1"),
    ]);
    let queue = Queue::new(connection.sqs(), format!("{url}/queue"));
    let dead_letter = DeadLetter {
        body: "{}".to_owned(),
        reason: Reason::RefusedTooOften,
        detail: "why".to_owned(),
        log_events: Some(7),
        attempts: 2,
        dead_lettered_ms: 1_795_219_200_000,
    };
    queue.send_dead_letter(&dead_letter, 900).await.expect("sent");
    let (head, request) = served.await.expect("served");
    assert!(head.contains("x-amz-target: amazonsqs.sendmessage"), "{head}");
    assert_eq!(
        request,
        json!({
            "QueueUrl": format!("{url}/queue"),
            "MessageBody": "{}",
            "DelaySeconds": 900,
            "MessageAttributes": {
                "Reason": {"DataType": "String", "StringValue": "refused-too-often"},
                "ReasonDetail": {"DataType": "String", "StringValue": "why"},
                "LogEvents": {"DataType": "Number", "StringValue": "7"},
                "Attempts": {"DataType": "Number", "StringValue": "2"},
                "DeadLetteredAt": {"DataType": "Number", "StringValue": "1795219200000"},
            },
        })
    );
}

#[tokio::test]
async fn a_queue_that_is_gone_says_so() {
    let body = r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"gone"}"#;
    let (url, _served) = answer_once(http("400 Bad Request", body)).await;
    let connection = connection(&[("AWS_ENDPOINT_URL_SQS", &url)]);
    let queue = Queue::new(connection.sqs(), format!("{url}/queue"));
    let dead_letter = DeadLetter::undecodable("{}", Reason::NotBase64, "", OCCASION);
    let error = queue.send_dead_letter(&dead_letter, 0).await.expect_err("refused");
    assert!(error.code.contains("QueueDoesNotExist"), "{error:?}");
}

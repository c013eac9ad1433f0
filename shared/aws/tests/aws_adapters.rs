//! The SDK adapters against a socket: what is sent, and what is made of each answer.

mod socket;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use sluice::delivery::{DeadLetter, Invocation, Reason};
use sluice::ports::{
    Message, PutError, PutRecords, QueueCounts, QueueError, ReceiveMessages, SendMessage,
};
use sluice::records::Record;
use sluice_aws::{KinesisStream, Queue, with_causes};
use socket::{answer_once, answer_once_after, connection, http};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const INVOCATION: Invocation = Invocation { now_ms: 1_795_219_200_000, replay: None };

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

/// As it is after an execution environment was frozen for a while.
#[tokio::test]
async fn a_connection_that_the_service_closed_while_it_was_idle_is_replaced() {
    let answer = http("200 OK", r#"{"Records":[{"SequenceNumber":"1"},{"SequenceNumber":"2"}]}"#);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let served = tokio::spawn(async move {
        let mut closed = Some(closed);
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            socket::read_request(&mut socket).await;
            socket.write_all(answer.as_bytes()).await.expect("the client listens");
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(socket);
            closed.take().map(|closed| closed.send(()));
        }
    });
    let kinesis = connection(&[("AWS_ENDPOINT_URL", &url)]).kinesis();
    let stream = KinesisStream::new(kinesis, "logs".to_owned());
    let records = records();
    let entries: Vec<&Record> = records.iter().collect();
    assert!(stream.put_records(&entries).await.is_ok());
    is_closed.await.expect("closed");
    assert!(stream.put_records(&entries).await.is_ok());
    served.await.expect("two connections");
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
    queue.send_message(&dead_letter.to_message(900)).await.expect("sent");
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
    let dead_letter = DeadLetter::undecodable("{}", Reason::NotBase64, "", INVOCATION);
    let error = queue.send_message(&dead_letter.to_message(0)).await.expect_err("refused");
    assert!(error.code.contains("QueueDoesNotExist"), "{error:?}");
}

fn queue(url: &str) -> Queue {
    let connection = connection(&[("AWS_ENDPOINT_URL_SQS", url)]);
    Queue::new(connection.sqs(), format!("{url}/queue"))
}

const TWO_MESSAGES: &str = r#"{"Messages":[
    {"MessageId":"m1","ReceiptHandle":"r1","Body":"{}",
     "Attributes":{"SentTimestamp":"1795219200000","ApproximateReceiveCount":"3"},
     "MessageAttributes":{
        "Reason":{"DataType":"String","StringValue":"deadline"},
        "Attempts":{"DataType":"Number","StringValue":"2"},
        "Picture":{"DataType":"Binary","BinaryValue":"AAAA"}}},
    {"MessageId":"m2","ReceiptHandle":"r2","Body":"x",
     "Attributes":{"SentTimestamp":"1","ApproximateReceiveCount":"1"}}]}"#;

async fn receive(url: &str) -> Result<Vec<Message>, QueueError> {
    queue(url).receive_messages(10, Duration::from_secs(90), Duration::from_secs(20)).await
}

#[tokio::test]
async fn messages_come_with_their_age_their_receipts_and_their_attributes() {
    let (url, served) = answer_once(http("200 OK", TWO_MESSAGES)).await;
    let messages = receive(&url).await.expect("two messages");
    let texts = [("Reason", "deadline"), ("Attempts", "2")];
    let texts = texts.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        messages,
        [
            Message {
                id: "m1".to_owned(),
                receipt_handle: "r1".to_owned(),
                body: "{}".to_owned(),
                attributes: texts.into(),
                sent_ms: 1_795_219_200_000,
                receive_count: 3,
            },
            Message {
                id: "m2".to_owned(),
                receipt_handle: "r2".to_owned(),
                body: "x".to_owned(),
                attributes: BTreeMap::new(),
                sent_ms: 1,
                receive_count: 1,
            },
        ]
    );
    let (head, request) = served.await.expect("served");
    assert!(head.contains("x-amz-target: amazonsqs.receivemessage"), "{head}");
    assert_eq!(
        request,
        json!({
            "QueueUrl": format!("{url}/queue"),
            "MaxNumberOfMessages": 10,
            "VisibilityTimeout": 90,
            "WaitTimeSeconds": 20,
            "MessageAttributeNames": ["All"],
            "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
        })
    );
}

#[tokio::test]
async fn an_empty_queue_gives_nothing() {
    for answer in ["{}", r#"{"Messages":[]}"#] {
        let (url, _served) = answer_once(http("200 OK", answer)).await;
        assert_eq!(receive(&url).await, Ok(Vec::new()));
    }
}

#[tokio::test]
async fn a_message_without_its_age_is_not_taken_for_a_new_one() {
    for (was, is) in [("1795219200000", "soon"), ("SentTimestamp", "Sent"), ("ReceiptHandle", "R")]
    {
        let (url, _served) = answer_once(http("200 OK", &TWO_MESSAGES.replace(was, is))).await;
        let error = receive(&url).await.expect_err("half a message");
        assert_eq!(error.code, "UnexpectedAnswer", "{is}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_polling_outlasts_the_clients_timeouts() {
    let long = Duration::from_secs(20);
    let (url, _served) = answer_once_after(long, http("200 OK", TWO_MESSAGES)).await;
    assert_eq!(receive(&url).await.map(|messages| messages.len()), Ok(2));
}

#[tokio::test]
async fn deleting_says_which_receipt_and_keeps_the_refusals_code() {
    let (url, served) = answer_once(http("200 OK", "")).await;
    assert_eq!(queue(&url).delete_message("r1").await, Ok(()));
    let (head, request) = served.await.expect("served");
    assert!(head.contains("x-amz-target: amazonsqs.deletemessage"), "{head}");
    assert_eq!(request, json!({ "QueueUrl": format!("{url}/queue"), "ReceiptHandle": "r1" }));

    let body = r#"{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"not ours"}"#;
    let (url, _served) = answer_once(http("400 Bad Request", body)).await;
    let error = queue(&url).delete_message("r1").await.expect_err("refused");
    assert_eq!((&*error.code, &*error.detail), ("ReceiptHandleIsInvalid", "not ours"));
}

#[tokio::test]
async fn visibility_is_changed_in_whole_seconds() {
    let (url, served) = answer_once(http("200 OK", "")).await;
    let visibility = Duration::from_millis(90_999);
    assert_eq!(queue(&url).change_visibility("r1", visibility).await, Ok(()));
    let (head, request) = served.await.expect("served");
    assert!(head.contains("x-amz-target: amazonsqs.changemessagevisibility"), "{head}");
    assert_eq!(
        request,
        json!({
            "QueueUrl": format!("{url}/queue"), "ReceiptHandle": "r1", "VisibilityTimeout": 90,
        })
    );

    let body = r#"{"__type":"com.amazonaws.sqs#MessageNotInflight","message":"gone"}"#;
    let (url, _served) = answer_once(http("400 Bad Request", body)).await;
    let error = queue(&url).change_visibility("r1", visibility).await.expect_err("refused");
    assert_eq!(error.code, "MessageNotInflight");
}

#[tokio::test]
async fn messages_are_counted_wherever_they_are() {
    let body = json!({"Attributes": {
        "ApproximateNumberOfMessages": "5",
        "ApproximateNumberOfMessagesNotVisible": "3",
        "ApproximateNumberOfMessagesDelayed": "1",
    }});
    let (url, served) = answer_once(http("200 OK", &body.to_string())).await;
    let counts = queue(&url).count_messages().await;
    assert_eq!(counts, Ok(QueueCounts { visible: 5, in_flight: 3, delayed: 1 }));
    let (head, request) = served.await.expect("served");
    assert!(head.contains("x-amz-target: amazonsqs.getqueueattributes"), "{head}");
    assert_eq!(
        request["AttributeNames"],
        json!([
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ])
    );

    let (url, _served) = answer_once(http("200 OK", "{}")).await;
    let error = queue(&url).count_messages().await.expect_err("no counts");
    assert_eq!(error.code, "UnexpectedAnswer");
}

#[cfg(feature = "lambda")]
mod functions {
    use sluice::ports::{InvokeError, InvokeFunction, ReadConcurrency};
    use sluice_aws::Functions;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(90);

    fn functions(url: &str) -> Functions {
        Functions::new(connection(&[("AWS_ENDPOINT_URL_LAMBDA", url)]).lambda())
    }

    async fn invoke(url: &str) -> Result<String, InvokeError> {
        functions(url).invoke("processor", r#"{"awslogs":{}}"#, TIMEOUT).await
    }

    #[tokio::test]
    async fn an_invocation_carries_the_event_and_brings_the_answer() {
        let (url, served) = answer_once(http("200 OK", r#"{"eventsIn":3}"#)).await;
        assert_eq!(invoke(&url).await.as_deref(), Ok(r#"{"eventsIn":3}"#));
        let (head, request) = served.await.expect("served");
        assert!(head.starts_with("post /2015-03-31/functions/processor/invocations "), "{head}");
        assert!(head.contains("x-amz-invocation-type: requestresponse"), "{head}");
        assert_eq!(request, json!({"awslogs": {}}));
    }

    #[tokio::test]
    async fn a_function_that_fails_says_how() {
        for (payload, error_type, message) in [
            (r#"{"errorType":"HandoffError","errorMessage":"why"}"#, "HandoffError", "why"),
            (
                r#"{"errorMessage":"Task timed out after 60.00 seconds"}"#,
                "Unhandled",
                "Task timed out after 60.00 seconds",
            ),
            (r#"{"errorType":7,"errorMessage":null,"trace":[]}"#, "Unhandled", ""),
            (r#"["not","an","object"]"#, "Unhandled", ""),
            ("not JSON", "Unhandled", ""),
            ("", "Unhandled", ""),
        ] {
            let answer = http("200 OK\r\nx-amz-function-error: Unhandled", payload);
            let (url, _served) = answer_once(answer).await;
            let failed = InvokeError::Failed {
                error_type: error_type.to_owned(),
                message: message.to_owned(),
            };
            assert_eq!(invoke(&url).await, Err(failed), "{payload}");
        }
    }

    #[tokio::test]
    async fn refusals_are_sorted_by_what_they_say_of_the_event() {
        type Kind = fn(String, String) -> InvokeError;
        let throttled: Kind =
            |code, detail| InvokeError::Throttled { detail: format!("{code}: {detail}") };
        let refused: Kind = |code, detail| InvokeError::Refused { code, detail };
        let unavailable: Kind = |code, detail| InvokeError::Unavailable { code, detail };
        let unknown: Kind = |code, detail| InvokeError::Unknown { code, detail };
        for (status, code, kind) in [
            (429, "TooManyRequestsException", throttled),
            (429, "Whatever", throttled),
            (502, "EC2ThrottledException", throttled),
            (502, "ENILimitReachedException", throttled),
            (502, "SubnetIPAddressLimitReachedException", throttled),
            (502, "ResourceNotReadyException", throttled),
            (409, "ResourceConflictException", throttled),
            (409, "SnapStartNotReadyException", throttled),
            (400, "InvalidRequestContentException", refused),
            (413, "RequestTooLargeException", refused),
            (413, "Whatever", refused),
            (415, "UnsupportedMediaTypeException", refused),
            (404, "ResourceNotFoundException", unavailable),
            (403, "AccessDeniedException", unavailable),
            (403, "ExpiredTokenException", unavailable),
            (400, "InvalidParameterValueException", unavailable),
            (400, "RecursiveInvocationException", unavailable),
            (502, "InvalidRuntimeException", unavailable),
            (502, "InvalidZipFileException", unavailable),
            (502, "KMSAccessDeniedException", unavailable),
            (502, "KMSDisabledException", unavailable),
            (500, "ServiceException", unknown),
            (502, "EC2UnexpectedException", unknown),
            (503, "Whatever", unknown),
            (408, "RequestTimeoutException", unknown),
            (410, "EFSIOException", unknown),
        ] {
            let body = r#"{"Type":"User","message":"why"}"#;
            let status = format!("{status} So\r\nx-amzn-errortype: {code}");
            let (url, _served) = answer_once(http(&status, body)).await;
            let expected = kind(code.to_owned(), "why".to_owned());
            assert_eq!(invoke(&url).await, Err(expected), "{code}");
        }
    }

    #[tokio::test]
    async fn an_invocation_without_a_whole_answer_may_have_happened() {
        let whole = http("200 OK", r#"{"eventsIn":3}"#);
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-le", &whole[..whole.len() - 5]] {
            // A second try would find nobody at the socket.
            let (url, _served) = answer_once(answer.to_owned()).await;
            let error = invoke(&url).await.expect_err("no whole answer");
            assert!(matches!(error, InvokeError::Unknown { .. }), "{answer:?}: {error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_invocation_is_waited_for_as_long_as_it_may_take_and_no_longer() {
        let (url, _served) = answer_once_after(TIMEOUT * 9 / 10, http("200 OK", "{}")).await;
        assert_eq!(invoke(&url).await.as_deref(), Ok("{}"));

        let begun = tokio::time::Instant::now();
        let (url, _served) = answer_once_after(TIMEOUT * 2, http("200 OK", "{}")).await;
        let error = invoke(&url).await.expect_err("too late");
        assert!(
            matches!(&error, InvokeError::Unknown { code, .. } if code == "Timeout"),
            "{error:?}"
        );
        assert!(begun.elapsed() < TIMEOUT + Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn later_means_an_event_invocation() {
        let (url, served) = answer_once(http("202 Accepted", "")).await;
        assert_eq!(functions(&url).invoke_later("replayer", r#"{"hop":2}"#).await, Ok(()));
        let (head, request) = served.await.expect("served");
        assert!(head.starts_with("post /2015-03-31/functions/replayer/invocations "), "{head}");
        assert!(head.contains("x-amz-invocation-type: event"), "{head}");
        assert_eq!(request, json!({"hop": 2}));
    }

    #[tokio::test]
    async fn concurrency_may_be_reserved_or_not() {
        for (body, reserved) in [(r#"{"ReservedConcurrentExecutions":4}"#, Some(4)), ("{}", None)] {
            let (url, served) = answer_once(http("200 OK", body)).await;
            assert_eq!(functions(&url).get_reserved_concurrency("processor").await, Ok(reserved));
            let (head, _) = served.await.expect("served");
            assert!(head.contains("/functions/processor/concurrency "), "{head}");
        }
        let body = r#"{"Type":"User","Message":"no such function"}"#;
        let (url, _served) =
            answer_once(http("404 N\r\nx-amzn-errortype: ResourceNotFoundException", body)).await;
        let error = functions(&url).get_reserved_concurrency("processor").await;
        let error = error.expect_err("no such function");
        assert_eq!(
            (error.call, &*error.code),
            ("GetFunctionConcurrency", "ResourceNotFoundException")
        );
    }
}

#[cfg(feature = "cloudwatch")]
mod control_plane {
    use std::collections::BTreeSet;

    use sluice::ports::ScaleStream;
    use sluice_aws::ControlPlane;

    use super::*;

    fn world(url: &str) -> ControlPlane {
        ControlPlane::new(&connection(&[("AWS_ENDPOINT_URL_KINESIS", url)]), "logs".to_owned())
    }

    fn metrics() -> BTreeSet<String> {
        BTreeSet::from(["IncomingBytes", "IncomingRecords"].map(str::to_owned))
    }

    #[tokio::test]
    async fn a_stream_says_which_shard_level_metrics_are_on() {
        for (monitoring, expected) in [
            (json!([]), BTreeSet::new()),
            (json!([{ "ShardLevelMetrics": [] }]), BTreeSet::new()),
            (json!([{ "ShardLevelMetrics": ["IncomingRecords", "IncomingBytes"] }]), metrics()),
        ] {
            let body = json!({ "StreamDescriptionSummary": {
                "StreamName": "logs",
                "StreamARN": "arn:aws:kinesis:eu-central-1:000000000000:stream/logs",
                "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 1_795_219_200.0,
                "OpenShardCount": 4,
                "EnhancedMonitoring": monitoring,
            } });
            let (url, _served) = answer_once(http("200 OK", &body.to_string())).await;
            let summary = world(&url).describe_stream().await.expect("a stream");
            assert_eq!((summary.open_shards, summary.shard_metrics), (4, expected));
        }
    }

    #[tokio::test]
    async fn shard_level_metrics_are_switched_by_name() {
        for is_on in [true, false] {
            let (url, served) = answer_once(http("200 OK", r#"{"StreamName":"logs"}"#)).await;
            let (world, metrics) = (world(&url), metrics());
            let (switched, call) = if is_on {
                (world.enable_shard_metrics(&metrics).await, "enableenhancedmonitoring")
            } else {
                (world.disable_shard_metrics(&metrics).await, "disableenhancedmonitoring")
            };
            assert_eq!(switched, Ok(()));
            let (head, request) = served.await.expect("served");
            assert!(head.contains(&format!("x-amz-target: kinesis_20131202.{call}")), "{head}");
            let metrics = ["IncomingBytes", "IncomingRecords"];
            assert_eq!(request, json!({ "StreamName": "logs", "ShardLevelMetrics": metrics }));
        }
        let body = r#"{"__type":"ResourceInUseException","message":"UPDATING"}"#;
        let (url, _served) = answer_once(http("400 Bad Request", body)).await;
        let error = world(&url).enable_shard_metrics(&metrics()).await.expect_err("refused");
        assert_eq!(
            (error.call, &*error.code),
            ("EnableEnhancedMonitoring", "ResourceInUseException")
        );
    }
}

#[cfg(feature = "firehose")]
mod firehose {
    use sluice_aws::Firehose;

    use super::*;

    async fn put(url: &str) -> Result<Vec<Option<String>>, PutError> {
        let connection = connection(&[("AWS_ENDPOINT_URL_FIREHOSE", url)]);
        let firehose = Firehose::new(connection.firehose(), "archive".to_owned());
        let [one, two] = records();
        let answer = firehose.put_records(&[&one, &two]).await?;
        Ok(answer.into_iter().map(|refusal| refusal.map(|refusal| refusal.code)).collect())
    }

    #[tokio::test]
    async fn records_go_to_a_firehose_by_name_without_their_keys() {
        let body = r#"{"FailedPutCount":1,"RequestResponses":[{"RecordId":"1"},
            {"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down."}]}"#;
        let (url, served) = answer_once(http("200 OK", body)).await;
        let refused = Some("ServiceUnavailableException".to_owned());
        assert_eq!(put(&url).await, Ok(vec![None, refused]));
        let (head, request) = served.await.expect("served");
        assert!(head.contains("x-amz-target: firehose_20150804.putrecordbatch"), "{head}");
        let records = json!([{"Data": "b25l"}, {"Data": "dHdv"}]);
        assert_eq!(request, json!({"DeliveryStreamName": "archive", "Records": records}));
    }

    #[tokio::test]
    async fn a_firehoses_errors_are_sorted_by_whether_they_can_pass() {
        type Kind = fn(String, String) -> PutError;
        let permanent: Kind = |code, detail| PutError::Permanent { code, detail };
        let transient: Kind = |code, detail| PutError::Transient { code, detail };
        let unknown: Kind = |code, detail| PutError::Unknown { code, detail };
        for (status, code, kind) in [
            ("400 Bad Request", "ResourceNotFoundException", permanent),
            ("400 Bad Request", "AccessDeniedException", permanent),
            ("400 Bad Request", "InvalidKMSResourceException", permanent),
            ("400 Bad Request", "InvalidArgumentException", permanent),
            ("400 Bad Request", "ThrottlingException", transient),
            ("503 Service Unavailable", "ServiceUnavailableException", transient),
            ("500 Internal Server Error", "InternalFailure", unknown),
        ] {
            let body = json!({ "__type": code, "message": "why" }).to_string();
            let (url, _served) = answer_once(http(status, &body)).await;
            assert_eq!(put(&url).await, Err(kind(code.to_owned(), "why".to_owned())));
        }
    }
}

/// The request is stopped before it leaves.
#[tokio::test]
async fn fips_and_dual_stack_endpoints_are_called_when_the_environment_says_so() {
    for (variables, host) in [
        (&[][..], "https://kinesis.us-east-1.amazonaws.com"),
        (&[("AWS_USE_FIPS_ENDPOINT", "true")], "https://kinesis-fips.us-east-1.amazonaws.com"),
        (&[("AWS_USE_DUALSTACK_ENDPOINT", "true")], "https://kinesis.us-east-1.api.aws"),
        (
            &[("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "true")],
            "https://kinesis-fips.us-east-1.api.aws",
        ),
    ] {
        let variables = [variables, &[("AWS_REGION", "us-east-1")]].concat();
        let kinesis = connection(&variables).kinesis();
        let called = kinesis
            .list_streams()
            .customize()
            .map_request(|request| Err::<_, std::io::Error>(std::io::Error::other(request.uri())))
            .send()
            .await
            .expect_err("stopped");
        let called = with_causes(&called);
        assert!(called.contains(host), "{variables:?}: {called}");
    }
}

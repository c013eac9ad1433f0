//! Metrics of a real stream through the SDK, against a socket that speaks CloudWatch's protocol
//! (RPC v2, CBOR).

use std::collections::BTreeMap;

use sluice::config::EnvReader;
use sluice_aws::{Connection, ControlPlane};
use sluice_cli::what_if::cloudwatch::read;
use sluice_cli::what_if::trace::Trace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const NOW_MS: u64 = 1_795_219_200_000;

/// CBOR, as far as an answer needs it.
enum Cbor<'a> {
    Text(&'a str),
    Double(f64),
    Time(f64),
    Array(Vec<Cbor<'a>>),
    Map(Vec<(&'a str, Cbor<'a>)>),
}

impl Cbor<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        fn head(out: &mut Vec<u8>, kind: u8, length: usize) {
            out.push(kind << 5 | 25);
            out.extend((length as u16).to_be_bytes());
        }
        match self {
            Self::Text(text) => {
                head(out, 3, text.len());
                out.extend(text.as_bytes());
            }
            Self::Double(value) => {
                out.push(0xfb);
                out.extend(value.to_be_bytes());
            }
            Self::Time(seconds) => {
                out.push(0xc1);
                Self::Double(*seconds).write(out);
            }
            Self::Array(items) => {
                head(out, 4, items.len());
                items.iter().for_each(|item| item.write(out));
            }
            Self::Map(members) => {
                head(out, 5, members.len());
                for (name, value) in members {
                    Self::Text(name).write(out);
                    value.write(out);
                }
            }
        }
    }
}

/// A page of results: each series by its query's place, with its points as minutes ago and values.
fn page(series: &[(&str, &[(u64, f64)])], next_token: Option<&str>) -> Vec<u8> {
    let seconds = |ago: u64| (NOW_MS / 1_000 - ago * 60) as f64;
    let results = series.iter().map(|(id, points)| {
        let times = points.iter().map(|&(ago, _)| Cbor::Time(seconds(ago))).collect();
        let values = points.iter().map(|&(_, value)| Cbor::Double(value)).collect();
        Cbor::Map(vec![
            ("Id", Cbor::Text(id)),
            ("Timestamps", Cbor::Array(times)),
            ("Values", Cbor::Array(values)),
        ])
    });
    let mut members = vec![("MetricDataResults", Cbor::Array(results.collect()))];
    members.extend(next_token.map(|token| ("NextToken", Cbor::Text(token))));
    let mut body = Vec::new();
    Cbor::Map(members).write(&mut body);
    body
}

/// Gives these answers, one a connection; returns what was asked, as far as it is text.
async fn serve(answers: Vec<(&'static str, Vec<u8>)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for (status, body) in answers {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !is_whole(&request) {
                let mut chunk = [0; 4_096];
                let read = socket.read(&mut chunk).await.expect("a request");
                assert!(read > 0, "the request ends early");
                request.extend_from_slice(&chunk[..read]);
            }
            let head = format!(
                "HTTP/1.1 {status}\r\nsmithy-protocol: rpc-v2-cbor\r\n\
                 content-type: application/cbor\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            socket.write_all(head.as_bytes()).await.expect("the client listens");
            socket.write_all(&body).await.expect("the client listens");
            socket.shutdown().await.ok();
            requests.push(String::from_utf8_lossy(&request).into_owned());
        }
        requests
    });
    (url, served)
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).expect("a length");
    request.len() >= end + 4 + length
}

async fn read_from(url: &str, days: f64) -> anyhow::Result<Trace> {
    let variables = BTreeMap::from([
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL", url),
    ]);
    let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let mut env = EnvReader::new(&lookup);
    let connection = Connection::read(&mut env);
    let connection = env.finish(connection).expect("a good environment");
    let plane = ControlPlane::new(&connection, "logs".to_owned());
    read(&plane, "logs", days, NOW_MS).await
}

#[tokio::test]
async fn pages_are_joined_a_failed_call_is_made_again_and_silence_is_no_traffic() {
    let first = page(&[("q0", &[(60, 6e6), (58, 12e6)]), ("q1", &[(60, 240.0)])], Some("more"));
    let second =
        page(&[("q0", &[(30, 60e6)]), ("q1", &[(30, 2_880.0)]), ("q2", &[(30, 7.0)])], None);
    let (url, served) = serve(vec![
        ("500 Internal Server Error", Vec::new()),
        ("200 OK", first),
        ("200 OK", second),
    ])
    .await;
    let trace = read_from(&url, 1.0 / 12.0).await.expect("a trace");
    let requests = served.await.expect("served");
    assert!(requests[0].to_lowercase().contains("getmetricdata"), "{}", requests[0]);
    for name in ["IncomingBytes", "IncomingRecords", "WriteProvisionedThroughputExceeded", "logs"] {
        assert!(requests[0].contains(name), "{name}");
    }
    assert!(requests[2].contains("more") && !requests[1].contains("more"));
    assert_eq!((trace.step_seconds, trace.bytes_per_second.len()), (60, 120));
    assert_eq!(trace.bytes(), 78e6);
    // The last five minutes are not there yet, so the first of the 120 began 125 minutes ago.
    let place = |ago: usize| trace.bytes_per_second[125 - ago];
    assert_eq!((place(60), place(59), place(58), place(30)), (1e5, 0.0, 2e5, 1e6));
    assert_eq!((trace.refused_records, trace.record_bytes), (Some(7.0), Some(25_000.0)));
}

#[tokio::test]
async fn a_stream_without_data_and_too_many_days_are_refused() {
    let (url, _served) = serve(vec![("200 OK", page(&[], None))]).await;
    let error = read_from(&url, 1.0).await.expect_err("no data").to_string();
    assert!(error.contains("are the name, AWS_REGION and the account right?"), "{error}");
    let error = read_from("http://127.0.0.1:1", 16.0).await.expect_err("too long").to_string();
    assert_eq!(error, "CloudWatch keeps minutes for 15 days: --days is 16");
}

//! The control plane's adapter against a socket.
#![cfg(feature = "cloudwatch")]

mod socket;

use serde_json::json;
use sluice::ports::ScaleStream;
use sluice_aws::ControlPlane;
use socket::{answer_each, connection, http};
use tokio::net::TcpListener;

/// A service that takes each call and never answers; counts the calls.
async fn answers_are_lost() -> (String, impl Future<Output = usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        let mut calls = 0;
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (mut socket, _) = accepted.expect("a connection");
                    socket::read_request(&mut socket).await;
                    calls += 1;
                }
                _ = &mut stopped => return calls,
            }
        }
    });
    (url, async move {
        let _ = stop.send(());
        served.await.expect("served")
    })
}

/// AWS may have counted the call. A second one would be refused as if the first were another's.
#[tokio::test]
async fn a_reshard_whose_answer_is_lost_is_sent_once() {
    for call in ["UpdateShardCount", "SplitShard", "MergeShards"] {
        let (url, calls) = answers_are_lost().await;
        let connection = connection(&[("AWS_ENDPOINT_URL_KINESIS", &url)]);
        let world = ControlPlane::new(&connection, "logs".to_owned());
        let answer = match call {
            "UpdateShardCount" => world.update_shard_count(2).await,
            "SplitShard" => world.split_shard("shardId-000000000000", 1).await,
            _ => world.merge_shards("shardId-000000000000", "shardId-000000000001").await,
        };
        assert_eq!(answer.expect_err("no answer").call, call);
        assert_eq!(calls.await, 1, "{call}");
    }
}

/// With a token, Kinesis refuses a stream's name and a filter beside it.
#[tokio::test]
async fn the_next_page_of_shards_is_asked_for_by_its_token_alone() {
    let page = |id: &str, token: Option<&str>| {
        let shard = json!({
            "ShardId": id,
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        });
        http("200 OK", &json!({"Shards": [shard], "NextToken": token}).to_string())
    };
    let (url, served) = answer_each(vec![page("a", Some("more")), page("b", None)]).await;
    let connection = connection(&[("AWS_ENDPOINT_URL_KINESIS", &url)]);
    let shards = ControlPlane::new(&connection, "logs".to_owned()).list_open_shards().await;
    let ids: Vec<String> = shards.expect("two pages").into_iter().map(|shard| shard.id).collect();
    assert_eq!(ids, ["a", "b"]);
    let asked = served.await.expect("served");
    assert_eq!(asked[0]["StreamName"], "logs");
    assert_eq!(asked[1], json!({"NextToken": "more"}));
}

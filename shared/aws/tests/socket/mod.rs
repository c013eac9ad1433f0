//! A server of one answer, and a connection to it.
#![allow(dead_code, reason = "not every file of tests uses all of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sluice::config::EnvReader;
use sluice_aws::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers one request with `answer`, byte for byte, and returns what was asked.
pub async fn answer_once(answer: String) -> (String, JoinHandle<(String, Value)>) {
    answer_once_after(Duration::ZERO, answer).await
}

pub async fn answer_once_after(
    delay: Duration,
    answer: String,
) -> (String, JoinHandle<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let served = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let (head, body) = read_request(&mut socket).await;
        tokio::time::sleep(delay).await;
        socket.write_all(answer.as_bytes()).await.expect("the client listens");
        socket.shutdown().await.expect("the client listens");
        (head, serde_json::from_slice(&body).unwrap_or_default())
    });
    (url, served)
}

/// Answers one request after the other, each on a connection of its own, and returns what was asked.
pub async fn answer_each(answers: Vec<String>) -> (String, JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let (_, body) = read_request(&mut socket).await;
            asked.push(serde_json::from_slice(&body).unwrap_or_default());
            socket.write_all(answer.as_bytes()).await.expect("the client listens");
            socket.shutdown().await.expect("the client listens");
        }
        asked
    });
    (url, served)
}

pub async fn read_request(socket: &mut TcpStream) -> (String, Vec<u8>) {
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
            .map_or(0, |length| length.trim().parse().expect("a content length"));
        if request.len() >= end + 4 + length {
            return (head, request[end + 4..].to_vec());
        }
    }
}

pub fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn connection(variables: &[(&'static str, &str)]) -> Connection {
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

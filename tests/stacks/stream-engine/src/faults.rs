//! Faults on purpose, a stream at a time, asked for on a path that is not Kinesis': `POST /_faults` with any of
//!
//! ```json
//! {"stream": "logs", "refuse": 0.3, "error": 0.1, "lose_answer": 0.05, "hang": 0.01, "seconds": 20, "seed": 7}
//! ```
//!
//! `refuse` is a share of a PutRecords call's entries, which get ProvisionedThroughputExceededException; the others are
//! shares of its calls: answered 500 before anything is written, written and then the connection broken off in the middle
//! of the answer, never answered. Left out means none, `seconds` without means until told otherwise, and
//! `{"stream": "logs"}` alone ends them. The answer, like that to `GET /_faults`, says what was done so far.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fastrand::Rng;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::BODY_BYTES_MAX;

const PUT_RECORDS: &str = "Kinesis_20131202.PutRecords";
/// Far longer than any client waits.
const HANG: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    refuse: f64,
    #[serde(default)]
    error: f64,
    #[serde(default)]
    lose_answer: f64,
    #[serde(default)]
    hang: f64,
    seconds: Option<f64>,
    seed: Option<u64>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Done {
    calls: u64,
    refused_entries: u64,
    errors: u64,
    answers_lost: u64,
    hung: u64,
}

struct Plan {
    wanted: Wanted,
    until: Option<Instant>,
    random: Rng,
}

#[derive(Default)]
struct Streams {
    plans: HashMap<String, Plan>,
    done: HashMap<String, Done>,
}

/// What was asked for and what was done, by stream.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Streams>>);

/// What becomes of one call.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answer,
    Fail,
    LoseTheAnswer,
    Hang,
}

impl Faults {
    /// The engine's router with faults before it.
    pub fn before(self, engine: Router) -> Router {
        let control =
            Router::new().route("/_faults", get(report).post(plan)).with_state(self.clone());
        engine.layer(from_fn_with_state(self, put_records)).merge(control)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Streams) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn report(&self) -> Response {
        self.with(|streams| axum::Json(&streams.done).into_response())
    }

    /// The call's fate, and for each of its entries whether it is refused; nothing for a stream without faults.
    fn decide(&self, stream: &str, entries: usize) -> Option<(Fate, Vec<bool>)> {
        self.with(|Streams { plans, done }| {
            let plan = plans.get_mut(stream)?;
            if plan.until.is_some_and(|until| Instant::now() >= until) {
                plans.remove(stream);
                return None;
            }
            let Wanted { refuse, error, lose_answer, hang, .. } = plan.wanted;
            let drawn = plan.random.f64();
            let fate = if drawn < error {
                Fate::Fail
            } else if drawn < error + lose_answer {
                Fate::LoseTheAnswer
            } else if drawn < error + lose_answer + hang {
                Fate::Hang
            } else {
                Fate::Answer
            };
            let refused: Vec<bool> = (0..entries).map(|_| plan.random.f64() < refuse).collect();
            let done = done.entry(stream.to_owned()).or_default();
            done.calls += 1;
            match fate {
                Fate::Fail => done.errors += 1,
                Fate::LoseTheAnswer => done.answers_lost += 1,
                Fate::Hang => done.hung += 1,
                Fate::Answer => {}
            }
            if matches!(fate, Fate::Answer | Fate::LoseTheAnswer) {
                done.refused_entries += refused.iter().filter(|refused| **refused).count() as u64;
            }
            Some((fate, refused))
        })
    }
}

async fn report(State(faults): State<Faults>) -> Response {
    faults.report()
}

async fn plan(State(faults): State<Faults>, body: Bytes) -> Response {
    match parse(&body) {
        Ok((stream, wanted)) => {
            faults.with(|streams| {
                let plan = Plan {
                    wanted,
                    until: wanted
                        .seconds
                        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds)),
                    random: Rng::with_seed(wanted.seed.unwrap_or(0)),
                };
                streams.plans.insert(stream.clone(), plan);
                streams.done.entry(stream).or_default();
            });
            faults.report()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
    }
}

fn parse(body: &[u8]) -> Result<(String, Wanted), String> {
    let mut fields: serde_json::Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Some(Value::String(stream)) = fields.remove("stream") else {
        return Err(r#""stream": the name of a stream is needed"#.to_owned());
    };
    let wanted: Wanted =
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
    let Wanted { refuse, error, lose_answer, hang, seconds, .. } = wanted;
    let shares = [refuse, error, lose_answer, hang];
    if shares.iter().any(|share| !(0.0..=1.0).contains(share)) || error + lose_answer + hang > 1.0 {
        return Err("each share lies from 0 to 1, and those of calls make 1 at the most together"
            .to_owned());
    }
    if seconds.is_some_and(|seconds| !(0.0..=86_400.0).contains(&seconds)) {
        return Err("seconds lie from 0 to 86400".to_owned());
    }
    Ok((stream, wanted))
}

async fn put_records(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    if request.headers().get("x-amz-target").is_none_or(|target| target != PUT_RECORDS)
        || faults.with(|streams| streams.plans.is_empty())
    {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let body = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    // What is not the JSON that our functions send is the engine's to judge.
    let Some((stream, mut call)) = serde_json::from_slice(&body).ok().and_then(named) else {
        return next.run(Request::from_parts(head, Body::from(body))).await;
    };
    let entries = call["Records"].as_array().map_or(0, Vec::len);
    let Some((fate, refused)) = faults.decide(&stream, entries) else {
        return next.run(Request::from_parts(head, Body::from(body))).await;
    };
    match fate {
        Fate::Fail => return internal_failure(),
        Fate::Hang => {
            tokio::time::sleep(HANG).await;
            return internal_failure();
        }
        Fate::Answer | Fate::LoseTheAnswer => {}
    }
    let mut kept = refused.iter().map(|refused| !refused);
    if let Some(records) = call["Records"].as_array_mut() {
        records.retain(|_| kept.next().unwrap_or(true));
    }
    let answer = if refused.iter().all(|refused| *refused) {
        json!({"FailedRecordCount": 0, "Records": []})
    } else {
        let mut head = head;
        head.headers.remove(CONTENT_LENGTH);
        let answer = next.run(Request::from_parts(head, Body::from(call.to_string()))).await;
        if !answer.status().is_success() {
            return answer;
        }
        let body = to_bytes(answer.into_body(), BODY_BYTES_MAX).await.unwrap_or_default();
        serde_json::from_slice(&body).unwrap_or_default()
    };
    let answer = with_refusals(answer, &refused).to_string();
    if fate == Fate::LoseTheAnswer {
        return broken_off(answer);
    }
    ([(CONTENT_TYPE, "application/x-amz-json-1.1")], answer).into_response()
}

fn named(call: Value) -> Option<(String, Value)> {
    let name =
        call["StreamName"].as_str().or_else(|| call["StreamARN"].as_str()?.rsplit('/').next())?;
    Some((name.to_owned(), call))
}

/// The engine's answer to the kept entries, with the refused ones back in their places.
fn with_refusals(answer: Value, refused: &[bool]) -> Value {
    let mut answered = answer["Records"].as_array().cloned().unwrap_or_default().into_iter();
    let records: Vec<Value> = refused
        .iter()
        .filter_map(|refused| {
            if *refused {
                Some(json!({
                    "ErrorCode": "ProvisionedThroughputExceededException",
                    "ErrorMessage": "Rate exceeded for shard (a fault on purpose)",
                }))
            } else {
                answered.next()
            }
        })
        .collect();
    let failed = records
        .iter()
        .filter(|record| record.get("ErrorCode").is_some_and(|code| !code.is_null()))
        .count();
    json!({"FailedRecordCount": failed, "Records": records})
}

fn internal_failure() -> Response {
    let body = json!({"__type": "InternalFailure", "message": "a fault on purpose"});
    let headers = [(CONTENT_TYPE, "application/x-amz-json-1.1")];
    (StatusCode::INTERNAL_SERVER_ERROR, headers, body.to_string()).into_response()
}

/// The first half of the answer, and then the connection is gone.
fn broken_off(mut answer: String) -> Response {
    answer.truncate(answer.len() / 2);
    let parts: [Result<String, io::Error>; 2] =
        [Ok(answer), Err(io::ErrorKind::ConnectionReset.into())];
    Response::new(Body::from_stream(stream::iter(parts)))
}

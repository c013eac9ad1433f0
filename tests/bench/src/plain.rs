//! The handler as most people write it: the events crate's own decode, one entry an event, calls
//! of 500, and the SDK as it comes. It does not pace, retry entries or report.

use aws_credential_types::Credentials;
use aws_lambda_events::cloudwatch_logs::{LogData, LogEntry, LogsEvent};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use serde::Serialize;

use crate::Error;

/// Entries that PutRecords takes in one call.
const ENTRIES_MAX: usize = 500;

/// The plain handler.
pub struct PlainHandler {
    client: Client,
    envelope: bool,
}

/// What our envelope says, too.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    owner: &'a str,
    log_group: &'a str,
    log_stream: &'a str,
    id: &'a str,
    timestamp: i64,
    message: &'a str,
}

impl PlainHandler {
    pub fn new(endpoint_url: &str, envelope: bool) -> Self {
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::from_keys("bench", "bench", None))
            .sleep_impl(TokioSleep::new())
            .http_client(http_client)
            .endpoint_url(endpoint_url)
            .build();
        Self { client: Client::from_conf(config), envelope }
    }

    pub async fn handle(&self, event: &[u8]) -> Result<(), Error> {
        let event: LogsEvent = serde_json::from_slice(event)?;
        let payload = event.aws_logs.data;
        let mut entries = Vec::with_capacity(payload.log_events.len());
        for log_event in &payload.log_events {
            let entry = PutRecordsRequestEntry::builder()
                .data(Blob::new(self.data(&payload, log_event)?))
                .partition_key(&log_event.id)
                .build()?;
            entries.push(entry);
        }
        for chunk in entries.chunks(ENTRIES_MAX) {
            let answer = self
                .client
                .put_records()
                .stream_name("bench")
                .set_records(Some(chunk.to_vec()))
                .send()
                .await?;
            if answer.failed_record_count.unwrap_or_default() > 0 {
                return Err("the sink refused records".into());
            }
        }
        Ok(())
    }

    fn data(&self, payload: &LogData, log_event: &LogEntry) -> Result<Vec<u8>, Error> {
        if !self.envelope {
            return Ok(log_event.message.clone().into_bytes());
        }
        Ok(serde_json::to_vec(&Envelope {
            owner: &payload.owner,
            log_group: &payload.log_group,
            log_stream: &payload.log_stream,
            id: &log_event.id,
            timestamp: log_event.timestamp,
            message: &log_event.message,
        })?)
    }
}

//! Reading a stream, and putting what was read into another, through the SDK.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::BuildError;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType, ShardIteratorType};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::kinesis::{entry, is_transient, put_error, refusals};
use crate::{describe, epoch_ms, not_put};
use sluice::ports::{
    PutError, PutReplayed, ReadError, ReadFrom, ReadStream, RecordsPage, Refusal, ShardLineage,
    StreamHistory, StreamRecord,
};
use sluice::records::{Record, replayed};

/// A Kinesis data stream to read, by name.
#[derive(Debug, Clone)]
pub struct KinesisReader {
    client: Client,
    stream_name: String,
}

impl KinesisReader {
    /// The stream `stream_name`, through a client that does not retry.
    pub fn new(client: Client, stream_name: String) -> Self {
        Self { client, stream_name }
    }
}

/// Any stream that may be written to.
#[derive(Debug, Clone)]
pub struct KinesisTargets {
    client: Client,
}

impl KinesisTargets {
    /// The streams that `client`, which does not retry, reaches.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

fn time(epoch_ms: u64) -> DateTime {
    DateTime::from_millis(i64::try_from(epoch_ms).unwrap_or(i64::MAX))
}

fn unexpected(detail: &str) -> ReadError {
    ReadError::Unknown { code: "UnexpectedAnswer".to_owned(), detail: detail.to_owned() }
}

fn not_sent(error: &BuildError) -> ReadError {
    ReadError::Permanent { code: "RequestNotSent".to_owned(), detail: error.to_string() }
}

impl ReadStream for KinesisReader {
    async fn describe_history(&self) -> Result<StreamHistory, ReadError> {
        let answer = self
            .client
            .describe_stream_summary()
            .stream_name(&self.stream_name)
            .send()
            .await
            .map_err(|error| read_error(&error))?;
        let summary = answer.stream_description_summary.ok_or(unexpected("no summary"))?;
        Ok(StreamHistory {
            arn: summary.stream_arn,
            retention_ms: u64::try_from(summary.retention_period_hours).unwrap_or_default()
                * 3_600_000,
            created_ms: epoch_ms(&summary.stream_creation_timestamp)
                .ok_or(unexpected("a stream from before 1970"))?,
        })
    }

    async fn list_shards_since(&self, from_ms: u64) -> Result<Vec<ShardLineage>, ReadError> {
        let filter = ShardFilter::builder()
            .r#type(ShardFilterType::FromTimestamp)
            .timestamp(time(from_ms))
            .build()
            .map_err(|error| not_sent(&error))?;
        let mut shards = Vec::new();
        let mut next_token = None;
        loop {
            let request = self.client.list_shards();
            // With a token, the API refuses everything else.
            let request = match next_token {
                None => request.stream_name(&self.stream_name).shard_filter(filter.clone()),
                Some(token) => request.next_token(token),
            };
            let page = request.send().await.map_err(|error| read_error(&error))?;
            shards.extend(page.shards.unwrap_or_default().into_iter().map(|shard| {
                ShardLineage {
                    id: shard.shard_id,
                    parents: [shard.parent_shard_id, shard.adjacent_parent_shard_id]
                        .into_iter()
                        .flatten()
                        .collect(),
                }
            }));
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(shards);
            }
        }
    }

    async fn get_shard_iterator(
        &self,
        shard_id: &str,
        from: &ReadFrom,
    ) -> Result<String, ReadError> {
        let request =
            self.client.get_shard_iterator().stream_name(&self.stream_name).shard_id(shard_id);
        let request = match from {
            ReadFrom::At(epoch_ms) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(time(*epoch_ms)),
            ReadFrom::After(sequence_number) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence_number),
        };
        let answer = request.send().await.map_err(|error| read_error(&error))?;
        answer.shard_iterator.ok_or(unexpected("no iterator"))
    }

    async fn get_records(
        &self,
        iterator: &str,
        records_max: usize,
    ) -> Result<RecordsPage, ReadError> {
        let page = self
            .client
            .get_records()
            .shard_iterator(iterator)
            .limit(i32::try_from(records_max).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| read_error(&error))?;
        let records = page
            .records
            .into_iter()
            .map(|record| {
                let arrived = record.approximate_arrival_timestamp.as_ref().and_then(epoch_ms);
                let arrived_ms = arrived.ok_or_else(|| {
                    unexpected(&format!("no arrival time of record {}", record.sequence_number))
                })?;
                Ok(StreamRecord {
                    sequence_number: record.sequence_number,
                    partition_key: record.partition_key.unwrap_or_default(),
                    data: record.data.into_inner(),
                    arrived_ms,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(RecordsPage {
            records,
            next_iterator: page.next_shard_iterator,
            // Taken for 0, it would end a shard before its last records.
            behind_ms: page
                .millis_behind_latest
                .and_then(|behind_ms| u64::try_from(behind_ms).ok())
                .ok_or(unexpected("no MillisBehindLatest"))?,
        })
    }
}

impl PutReplayed for KinesisTargets {
    async fn put_replayed(
        &self,
        stream: &str,
        records: &[&Record],
    ) -> Result<Vec<Option<Refusal>>, PutError> {
        let entries = records
            .iter()
            .map(|record| {
                let hash_key = replayed::hash_key(&record.partition_key);
                entry(record).explicit_hash_key(hash_key.to_string()).build()
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| not_put(&error))?;
        let request = self.client.put_records().set_records(Some(entries));
        let request = match stream.starts_with("arn:") {
            true => request.stream_arn(stream),
            false => request.stream_name(stream),
        };
        Ok(refusals(request.send().await.map_err(|error| put_error(&error))?))
    }
}

/// Sorts a failed call by what may come of another.
fn read_error<E>(error: &SdkError<E, HttpResponse>) -> ReadError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, detail) = describe(error);
    match error {
        SdkError::ServiceError(context) => match context.raw().status().as_u16() {
            _ if code == "ExpiredIteratorException" => ReadError::IteratorExpired,
            500.. => ReadError::Unknown { code, detail },
            status if is_transient(&code, status) => ReadError::Throttled { code, detail },
            _ => ReadError::Permanent { code, detail },
        },
        SdkError::ConstructionFailure(_) => ReadError::Permanent { code, detail },
        _ => ReadError::Unknown { code, detail },
    }
}

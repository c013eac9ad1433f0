//! PutRecordBatch through the SDK.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchError;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record as Entry;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;

use crate::{Connection, describe, not_put};
use aws_smithy_types::retry::RetryConfig;
use sluice::ports::{PutError, PutRecords, Refusal};
use sluice::records::Record;

impl Connection {
    /// A Firehose client that tries once, for [`sluice::records::put_all`]. A call may carry 4 MiB.
    pub fn firehose(&self) -> Client {
        let config = self.service("FIREHOSE", RetryConfig::disabled());
        Client::new(&config)
    }
}

/// A Firehose, by name. Of a record it takes the data alone.
#[derive(Debug, Clone)]
pub struct Firehose {
    client: Client,
    delivery_stream_name: String,
}

impl Firehose {
    /// The Firehose `delivery_stream_name`, through a client that does not retry.
    pub fn new(client: Client, delivery_stream_name: String) -> Self {
        Self { client, delivery_stream_name }
    }
}

impl PutRecords for Firehose {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        let entries = records
            .iter()
            .map(|record| Entry::builder().data(Blob::new(record.data.as_slice())).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| not_put(&error))?;
        let answer = self
            .client
            .put_record_batch()
            .delivery_stream_name(&self.delivery_stream_name)
            .set_records(Some(entries))
            .send()
            .await
            .map_err(|error| put_error(&error))?;
        let entries = answer.request_responses.into_iter();
        Ok(entries.map(|entry| entry.error_code.map(|code| Refusal { code })).collect())
    }
}

/// Sorts a failed call into "may succeed later" and "cannot succeed".
fn put_error(error: &SdkError<PutRecordBatchError, HttpResponse>) -> PutError {
    let (code, detail) = describe(error);
    match error {
        // "Slow down": Firehose says so with a 5xx, and has taken nothing.
        SdkError::ServiceError(_) if is_throttle(&code) => PutError::Transient { code, detail },
        SdkError::ServiceError(context) => match context.raw().status().as_u16() {
            500.. => PutError::Unknown { code, detail },
            429 => PutError::Transient { code, detail },
            _ => PutError::Permanent { code, detail },
        },
        SdkError::ConstructionFailure(_) => PutError::Permanent { code, detail },
        _ => PutError::Unknown { code, detail },
    }
}

/// The codes by which Firehose refuses a whole call for now.
fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "ServiceUnavailableException"
            | "LimitExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestTimeout"
            | "RequestTimeoutException"
    )
}

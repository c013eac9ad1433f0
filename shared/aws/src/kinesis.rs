//! PutRecords through the SDK.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::builders::PutRecordsRequestEntryBuilder;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry};
use aws_smithy_runtime_api::client::result::SdkError;

use crate::{describe, not_put};
use sluice::ports::{PutError, PutRecords, Refusal};
use sluice::records::Record;

/// A Kinesis data stream, by name.
#[derive(Debug, Clone)]
pub struct KinesisStream {
    client: Client,
    stream_name: String,
}

impl KinesisStream {
    /// The stream `stream_name`, through a client that does not retry.
    pub fn new(client: Client, stream_name: String) -> Self {
        Self { client, stream_name }
    }
}

impl PutRecords for KinesisStream {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        let entries = records
            .iter()
            .map(|record| entry(record).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| not_put(&error))?;
        let answer = self
            .client
            .put_records()
            .stream_name(&self.stream_name)
            .set_records(Some(entries))
            .send()
            .await
            .map_err(|error| put_error(&error))?;
        Ok(refusals(answer))
    }
}

pub(super) fn entry(record: &Record) -> PutRecordsRequestEntryBuilder {
    PutRecordsRequestEntry::builder()
        .data(Blob::new(record.data.as_slice()))
        .partition_key(&record.partition_key)
}

pub(super) fn refusals(answer: PutRecordsOutput) -> Vec<Option<Refusal>> {
    let refusal = |entry: PutRecordsResultEntry| entry.error_code.map(|code| Refusal { code });
    answer.records.into_iter().map(refusal).collect()
}

/// Sorts a failed call into "may succeed later" and "cannot succeed".
pub(super) fn put_error(
    error: &SdkError<
        aws_sdk_kinesis::operation::put_records::PutRecordsError,
        aws_smithy_runtime_api::client::orchestrator::HttpResponse,
    >,
) -> PutError {
    let (code, detail) = describe(error);
    match error {
        SdkError::ServiceError(context) => match context.raw().status().as_u16() {
            500.. => PutError::Unknown { code, detail },
            status if is_transient(&code, status) => PutError::Transient { code, detail },
            _ => PutError::Permanent { code, detail },
        },
        SdkError::ConstructionFailure(_) => PutError::Permanent { code, detail },
        _ => PutError::Unknown { code, detail },
    }
}

/// The codes that PutRecords documents as passing, and whatever says so by its status.
pub(super) fn is_transient(code: &str, status: u16) -> bool {
    status == 429
        || matches!(
            code,
            "ProvisionedThroughputExceededException"
                | "KMSThrottlingException"
                | "LimitExceededException"
                | "InternalFailure"
                | "InternalFailureException"
                | "ServiceUnavailable"
                | "Throttling"
                | "ThrottlingException"
                | "RequestTimeout"
                | "RequestTimeoutException"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_can_pass_are_transient() {
        for (code, status) in [
            ("ProvisionedThroughputExceededException", 400),
            ("KMSThrottlingException", 400),
            ("InternalFailure", 400),
            ("anything", 429),
        ] {
            assert!(is_transient(code, status), "{code}");
        }
        for code in [
            "AccessDeniedException",
            "ResourceNotFoundException",
            "KMSDisabledException",
            "KMSAccessDeniedException",
            "KMSInvalidStateException",
            "InvalidArgumentException",
            "ValidationException",
            "ExpiredTokenException",
            "UnrecognizedClientException",
        ] {
            assert!(!is_transient(code, 400), "{code}");
        }
    }
}

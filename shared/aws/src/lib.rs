//! The ports, played by the AWS SDK.

mod connection;
#[cfg(feature = "cloudwatch")]
mod control_plane;
#[cfg(feature = "firehose")]
mod firehose;
#[cfg(feature = "lambda")]
mod functions;
mod kinesis;
mod kinesis_reader;
mod logging;
mod serve;
mod sqs;
mod system;

pub use connection::Connection;
#[cfg(feature = "cloudwatch")]
pub use control_plane::ControlPlane;
#[cfg(feature = "firehose")]
pub use firehose::Firehose;
#[cfg(feature = "lambda")]
pub use functions::Functions;
pub use kinesis::KinesisStream;
pub use kinesis_reader::{KinesisReader, KinesisTargets};
pub use serve::{Error, answer, serve, start, with_causes};
pub use sqs::Queue;
pub use system::{Stdout, SystemClock};

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::error::operation::BuildError;
use sluice::ports::PutError;

/// The error's code and message; for a call without an answer, the kind of failure and its cause.
pub fn describe<E, R>(error: &SdkError<E, R>) -> (String, String)
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let kind = match error {
        SdkError::ServiceError(context) => context.err().code().unwrap_or("UnknownError"),
        SdkError::TimeoutError(_) => "Timeout",
        SdkError::DispatchFailure(_) => "ConnectionFailed",
        SdkError::ResponseError(_) => "BrokenResponse",
        _ => "RequestNotSent",
    };
    let detail = match error {
        SdkError::ServiceError(context) => context.err().message().unwrap_or_default().to_owned(),
        other => sources(other),
    };
    (kind.to_owned(), detail)
}

/// The failure of a control plane's `call`.
#[cfg(feature = "lambda")]
fn control_error<E, R>(call: &'static str) -> impl Fn(SdkError<E, R>) -> sluice::ports::ControlError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    move |error| {
        let (code, detail) = describe(&error);
        sluice::ports::ControlError { call, code, detail }
    }
}

/// A put whose request lacks something, so that it never leaves.
fn not_put(error: &BuildError) -> PutError {
    PutError::Permanent { code: "RequestNotSent".to_owned(), detail: error.to_string() }
}

/// Milliseconds since 1970; `None` for what no service means, a time before.
fn epoch_ms(time: &aws_smithy_types::DateTime) -> Option<u64> {
    u64::try_from(time.to_millis().ok()?).ok()
}

/// The causes of an error, outermost first.
fn sources(error: &dyn std::error::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes.join(": ")
}

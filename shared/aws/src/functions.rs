//! Lambda functions through the SDK.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::operation::invoke::InvokeError as SdkInvokeError;
use aws_sdk_lambda::operation::invoke::builders::InvokeFluentBuilder;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::retry::RetryConfig;
use serde::Deserialize;

use super::{Connection, control_error, describe};
use crate::connection::held_back;
use sluice::ports::{ControlError, InvokeError, InvokeFunction, ReadConcurrency};

impl Connection {
    /// A Lambda client with the SDK's own retries.
    pub fn lambda(&self) -> Client {
        let config = self.service("LAMBDA", RetryConfig::standard());
        Client::new(&config)
    }
}

/// The account's functions, by name or ARN.
#[derive(Debug, Clone)]
pub struct Functions {
    client: Client,
}

impl Functions {
    /// The functions that `client` reaches.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn request(&self, function: &str, event: &str, how: InvocationType) -> InvokeFluentBuilder {
        self.client
            .invoke()
            .function_name(function)
            .invocation_type(how)
            .payload(Blob::new(event.as_bytes()))
    }
}

impl InvokeFunction for Functions {
    async fn invoke(
        &self,
        function: &str,
        event: &str,
        timeout: Duration,
    ) -> Result<String, InvokeError> {
        let once = aws_sdk_lambda::Config::builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(held_back(timeout));
        let answer = self
            .request(function, event, InvocationType::RequestResponse)
            .customize()
            .config_override(once)
            .send()
            .await
            .map_err(|error| invoke_error(&error))?;
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        if let Some(kind) = answer.function_error {
            return Err(function_error(&kind, &payload));
        }
        String::from_utf8(payload).map_err(|_| InvokeError::Unknown {
            code: "UnexpectedAnswer".to_owned(),
            detail: "the function's answer is not UTF-8".to_owned(),
        })
    }

    async fn invoke_later(&self, function: &str, event: &str) -> Result<(), InvokeError> {
        self.request(function, event, InvocationType::Event)
            .send()
            .await
            .map_err(|error| invoke_error(&error))?;
        Ok(())
    }
}

impl ReadConcurrency for Functions {
    async fn get_reserved_concurrency(&self, function: &str) -> Result<Option<u32>, ControlError> {
        let answer = self
            .client
            .get_function_concurrency()
            .function_name(function)
            .send()
            .await
            .map_err(control_error("GetFunctionConcurrency"))?;
        Ok(answer.reserved_concurrent_executions.and_then(|reserved| u32::try_from(reserved).ok()))
    }
}

/// What the function itself says of its failure. Lambda's own errors may lack the type, and a
/// custom runtime may say anything.
fn function_error(kind: &str, payload: &[u8]) -> InvokeError {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Said {
        error_type: serde_json::Value,
        error_message: serde_json::Value,
    }
    let said: Said = serde_json::from_slice(payload).unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    };
    InvokeError::Failed {
        error_type: text(said.error_type).unwrap_or_else(|| kind.to_owned()),
        message: text(said.error_message).unwrap_or_default(),
    }
}

/// Sorts a failed call by what it says of the event.
fn invoke_error(error: &SdkError<SdkInvokeError, HttpResponse>) -> InvokeError {
    let (code, detail) = describe(error);
    match error {
        SdkError::ServiceError(context) => {
            sort_by_code(code, detail, context.raw().status().as_u16())
        }
        SdkError::ConstructionFailure(_) => InvokeError::Unavailable { code, detail },
        _ => InvokeError::Unknown { code, detail },
    }
}

/// The errors that Invoke documents. (Lambda API, Invoke; Nov 2026)
fn sort_by_code(code: String, detail: String, status: u16) -> InvokeError {
    match code.as_str() {
        // There was no environment yet, or no room for one.
        "TooManyRequestsException"
        | "ThrottlingException"
        | "EC2ThrottledException"
        | "ENILimitReachedException"
        | "ENINotReadyException"
        | "SubnetIPAddressLimitReachedException"
        | "ResourceConflictException"
        | "ResourceNotReadyException"
        | "SnapStartNotReadyException" => {
            InvokeError::Throttled { detail: format!("{code}: {detail}") }
        }
        "InvalidRequestContentException"
        | "RequestTooLargeException"
        | "SerializedRequestEntityTooLargeException"
        | "UnsupportedMediaTypeException" => InvokeError::Refused { code, detail },
        // No environment can begin. Lambda gives these a 502, as if another try might help.
        "EC2AccessDeniedException"
        | "InvalidRuntimeException"
        | "InvalidSecurityGroupIDException"
        | "InvalidSubnetIDException"
        | "InvalidZipFileException"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException" => InvokeError::Unavailable { code, detail },
        // The function's file system may have broken off while it was at work.
        "EFSIOException" | "RequestTimeout" | "RequestTimeoutException" => {
            InvokeError::Unknown { code, detail }
        }
        _ => match status {
            429 => InvokeError::Throttled { detail: format!("{code}: {detail}") },
            413 => InvokeError::Refused { code, detail },
            400..500 => InvokeError::Unavailable { code, detail },
            _ => InvokeError::Unknown { code, detail },
        },
    }
}

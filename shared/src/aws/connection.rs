//! Where and as whom the SDK's clients call, and how long they wait.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::config::EnvReader;

/// TCP and TLS; a 128 MB function has a fourteenth of a core for the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// From the request's last byte to the answer's first.
const READ_TIMEOUT: Duration = Duration::from_secs(4);
/// One try, all in all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);

/// Region, credentials and endpoints out of Lambda's environment, and one HTTP client for all.
///
/// Credentials are static: Lambda sets them for the life of an environment. That, and doing
/// without `aws-config`, halves the binary; see docs/decisions.md.
#[derive(Debug, Clone)]
pub struct Connection {
    base: SdkConfig,
    endpoint_url: Option<String>,
    endpoint_url_kinesis: Option<String>,
    endpoint_url_sqs: Option<String>,
}

impl Connection {
    /// Reads `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>`.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        let form = "a URL beginning with http:// or https://";
        let endpoint_url = env.optional_if("AWS_ENDPOINT_URL", form, is_url);
        let endpoint_url_kinesis = env.optional_if("AWS_ENDPOINT_URL_KINESIS", form, is_url);
        let endpoint_url_sqs = env.optional_if("AWS_ENDPOINT_URL_SQS", form, is_url);
        let region = env.required::<String>("AWS_REGION", "a region such as eu-west-1");
        let access_key_id = env.required::<String>("AWS_ACCESS_KEY_ID", "an access key id");
        let secret = env.required::<String>("AWS_SECRET_ACCESS_KEY", "a secret access key");
        let credentials =
            Credentials::from_keys(access_key_id?, secret?, env.optional("AWS_SESSION_TOKEN"));
        let base = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region?))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client())
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
                aws_smithy_async::rt::sleep::TokioSleep::new(),
            ))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(READ_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .build(),
            )
            .build();
        Some(Self { base, endpoint_url, endpoint_url_kinesis, endpoint_url_sqs })
    }

    /// A Kinesis client that tries once: [`crate::records::put_all`] tries again, entry by entry.
    #[must_use]
    pub fn kinesis(&self) -> aws_sdk_kinesis::Client {
        let config = self.service(self.endpoint_url_kinesis.as_deref(), RetryConfig::disabled());
        aws_sdk_kinesis::Client::new(&config)
    }

    /// An SQS client with the SDK's own retries.
    #[must_use]
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = self.service(self.endpoint_url_sqs.as_deref(), RetryConfig::standard());
        aws_sdk_sqs::Client::new(&config)
    }

    fn service(&self, endpoint_url: Option<&str>, retries: RetryConfig) -> SdkConfig {
        let mut builder = self.base.to_builder().retry_config(retries);
        builder.set_endpoint_url(
            endpoint_url.map(str::to_owned).or_else(|| self.endpoint_url.clone()),
        );
        builder.build()
    }
}

fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

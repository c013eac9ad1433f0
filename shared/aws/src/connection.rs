//! Where and as whom the SDK's clients call, and how long they wait.

use std::collections::BTreeMap;
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

use sluice::config::EnvReader;

/// TCP and TLS; a 128 MB function has a fourteenth of a core for the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// From the request's last byte to the answer's first.
const READ_TIMEOUT: Duration = Duration::from_secs(4);
/// One try, all in all.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);

/// The timeouts of a call whose answer the service may hold back: one try has `attempt`.
///
/// Without a read timeout: the SDK's HTTP client opens connections anew for each one that it has
/// not seen yet, and keeps them.
pub(super) fn held_back(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().disable_read_timeout().operation_attempt_timeout(attempt).build()
}

/// Region, credentials and endpoints out of Lambda's environment, and one HTTP client for all.
///
/// Credentials are static: Lambda sets them for the life of an environment. That, and doing
/// without `aws-config`, halves the binary; see docs/decisions/libraries.md.
#[derive(Debug, Clone)]
pub struct Connection {
    base: SdkConfig,
    endpoints: Endpoints,
}

/// The services that have an endpoint of their own, as `AWS_ENDPOINT_URL_<SERVICE>` names them.
const SERVICES: [&str; 5] = ["CLOUDWATCH", "FIREHOSE", "KINESIS", "LAMBDA", "SQS"];

/// `AWS_ENDPOINT_URL` and its variants for single services, those that are set, by service.
#[derive(Debug, Clone, Default)]
struct Endpoints {
    all: Option<String>,
    own: BTreeMap<&'static str, String>,
}

impl Endpoints {
    fn read(env: &mut EnvReader<'_>) -> Self {
        let all = env.optional_url("AWS_ENDPOINT_URL", "a URL");
        let mut own = |service| {
            let url = env.optional_url(&format!("AWS_ENDPOINT_URL_{service}"), "a URL")?;
            Some((service, url))
        };
        Self { all, own: SERVICES.into_iter().filter_map(&mut own).collect() }
    }
}

impl Connection {
    /// Reads `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_USE_FIPS_ENDPOINT` and
    /// `AWS_USE_DUALSTACK_ENDPOINT`.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let endpoints = Endpoints::read(env);
        let region = env.required::<String>("AWS_REGION", "a region such as eu-west-1");
        let access_key_id = env.required::<String>("AWS_ACCESS_KEY_ID", "an access key id");
        let secret = env.required::<String>("AWS_SECRET_ACCESS_KEY", "a secret access key");
        let mut flag = |name| env.optional_if(name, "true or false", |_: &bool| true);
        let fips = flag("AWS_USE_FIPS_ENDPOINT");
        let dual_stack = flag("AWS_USE_DUALSTACK_ENDPOINT");
        let credentials =
            Credentials::from_keys(access_key_id?, secret?, env.optional("AWS_SESSION_TOKEN"));
        let mut base = SdkConfig::builder();
        base.set_use_fips(fips);
        base.set_use_dual_stack(dual_stack);
        let base = base
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
        Some(Self { base, endpoints })
    }

    /// Calls as `base` says, for a program that finds it in another way than a function does.
    pub fn of(base: SdkConfig) -> Self {
        Self { base, endpoints: Endpoints::default() }
    }

    /// A Kinesis client that tries once: [`sluice::records::put_all`] tries again, entry by entry,
    /// and a reshard whose answer is lost must not be sent twice.
    pub fn kinesis(&self) -> aws_sdk_kinesis::Client {
        let config = self.service("KINESIS", RetryConfig::disabled());
        aws_sdk_kinesis::Client::new(&config)
    }

    /// An SQS client with the SDK's own retries.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = self.service("SQS", RetryConfig::standard());
        aws_sdk_sqs::Client::new(&config)
    }

    /// The configuration of a client of `service`, one of [`SERVICES`].
    pub(crate) fn service(&self, service: &str, retries: RetryConfig) -> SdkConfig {
        let mut builder = self.base.to_builder().retry_config(retries);
        let Endpoints { all, own } = &self.endpoints;
        if let Some(url) = own.get(service).or(all.as_ref()) {
            builder.set_endpoint_url(Some(url.clone()));
        }
        builder.build()
    }
}

fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

//! AWS as a person's machine reaches it: what the AWS CLI finds.

use anyhow::{Context, bail};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::config::{ProvideCredentials, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_types::retry::RetryConfig;

/// A person waits; a function would be run again.
const ATTEMPTS_MAX: u32 = 5;

/// Region, credentials, endpoints and proxy, from the environment and the files of the AWS CLI.
/// Fails before the first call when there are no credentials, with what to do.
pub async fn config() -> anyhow::Result<SdkConfig> {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client()?)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
        .load()
        .await;
    if config.region().is_none() {
        bail!(
            "no AWS region is set: set AWS_REGION, or a region in the profile that AWS_PROFILE names"
        );
    }
    let provider = config.credentials_provider().context("no AWS credentials are configured")?;
    provider.provide_credentials().await.context(
        "there are no AWS credentials: set AWS_PROFILE, sign in with `aws sso login`, or set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY",
    )?;
    Ok(config)
}

/// Speaks TLS by ring, through the proxy of HTTPS_PROXY, and trusts AWS_CA_BUNDLE beside the system.
fn http_client() -> anyhow::Result<SharedHttpClient> {
    let mut trusted = TrustStore::default();
    if let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        let bundle = std::fs::read(&path).with_context(|| {
            format!("AWS_CA_BUNDLE names {}, which cannot be read", path.display())
        })?;
        trusted.add_pem_certificate(bundle);
    }
    let tls = TlsContext::builder().with_trust_store(trusted).build()?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls.clone())
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    }))
}

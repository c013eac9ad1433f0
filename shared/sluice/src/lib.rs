//! The library behind Sluice's Lambda functions.
//!
//! The data path, in the order an event takes it: [`logs`] (decode, transform) →
//! [`records`] (pack, pace, put) → [`delivery`] (what could not be put is handed over) →
//! [`telemetry`] (metrics). [`scaling`] decides how many shards there are. [`ports`] are the verbs
//! that reach outside: `shared/aws` plays them with the SDK, `shared/simulated` in virtual time.
//! [`invocation`] is what all functions need of an invocation: deadline, backoff, next hop. [`limits`]
//! holds every quota and price; [`time`] reads times; [`mod@gzip`] compresses and inflates.
//!
//! Nothing here knows an SDK, a clock or the environment: the manifest names no crate that has them,
//! and `clippy.toml` refuses the standard library's.

pub mod config;
pub mod delivery;
pub mod gzip;
pub mod invocation;
pub mod limits;
pub mod logs;
pub mod ports;
mod quote;
pub mod records;
pub mod scaling;
pub mod telemetry;
pub mod time;

pub use quote::{Quoted, quote};

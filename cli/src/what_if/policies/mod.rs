//! The rules, one file each, and where they are documented.
//!
//! Peers get Sluice's processors, whose concurrency follows the shards at once, so that what differs
//! is when and how far they scale.

mod alarm;
pub mod application_auto_scaling;
pub mod fixed;
pub mod kinesis_auto_scaling;
pub mod on_demand;
pub mod plain;
pub mod scaling_utils;
pub mod sluice;
pub mod substation;

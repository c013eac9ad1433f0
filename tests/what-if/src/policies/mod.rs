//! The rules, one file each, and where they are documented.

pub mod fixed;
pub mod on_demand;
pub mod sluice;

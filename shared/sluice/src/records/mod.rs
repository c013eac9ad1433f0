//! From events to accepted records: [`pack`] fills records, [`spread`] keys them, [`pace`] says
//! when they may go, [`put`] gets them accepted. And back: [`mod@deaggregate`] finds the events in
//! them.

mod aggregate;
pub mod deaggregate;
pub mod pace;
pub mod pack;
pub mod put;
pub mod replayed;
pub mod spread;

pub use deaggregate::{Damage, Deaggregated, UserRecord, deaggregate};
pub use pace::{BURST_SECONDS, Pacer};
pub use pack::{PackedRecord, Packer, Packing, RecordFormat};
pub use put::{CallLimits, PutPolicy, PutReport, Stopped, put_all};
pub use spread::{PartitionBy, Spread};

use crate::limits::PUT_UNIT_BYTES;

/// One record as the stream takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Decides the shard, through its MD5.
    pub partition_key: String,
    /// What consumers read.
    pub data: Vec<u8>,
}

impl Record {
    /// What counts against every limit: data and partition key.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// PUT payload units that the record is billed.
    #[must_use]
    pub fn put_units(&self) -> u64 {
        (self.bytes() as u64).div_ceil(PUT_UNIT_BYTES).max(1)
    }
}

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

pub use crate::ports::Record;

//! What an invocation reports: one EMF line.

use sluice::records::PutReport;
use sluice::telemetry::{EmfLine, Unit};

use crate::config::Config;
use crate::join::Joined;

/// The counts of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub records_in: u64,
    /// Records that looked like an aggregate or gzip and were archived as they came.
    pub records_damaged: u64,
    /// Records that Lambda is asked to deliver again.
    pub records_left: u64,
    /// Events that went to the on-failure queue.
    pub events_not_archivable: u64,
    pub events_archived: u64,
    pub bytes_archived: u64,
    pub puts_refused: u64,
}

impl Report {
    /// What the Firehose took of `joined`.
    pub fn put(&mut self, joined: &Joined, put: &PutReport) {
        self.puts_refused += put.throttled + put.failed;
        for (index, record) in joined.records.iter().enumerate() {
            if put.remaining.binary_search(&index).is_err() {
                self.events_archived += joined.events[index] as u64;
                self.bytes_archived += record.data.len() as u64;
            }
        }
    }

    pub fn to_line(&self, config: &Config, now_ms: u64) -> String {
        let mut line = EmfLine::new(now_ms, &[("FunctionName", &config.function_name)]);
        line.metric("RecordsIn", Unit::Count, self.records_in)
            .metric("RecordsDamaged", Unit::Count, self.records_damaged)
            .metric("RecordsLeft", Unit::Count, self.records_left)
            .metric("EventsArchived", Unit::Count, self.events_archived)
            .metric("EventsNotArchivable", Unit::Count, self.events_not_archivable)
            .metric("BytesArchived", Unit::Bytes, self.bytes_archived)
            .metric("FirehoseRefused", Unit::Count, self.puts_refused);
        line.to_line()
    }
}

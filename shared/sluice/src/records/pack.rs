//! Fills records with events, none of them split.

use std::ops::Range;
use std::str::FromStr;

use libdeflater::{CompressionLvl, Compressor};

use super::{Record, aggregate};
use crate::gzip;
use crate::limits::RECORD_BYTES_MAX;
use crate::logs::Batch;

/// How events lie in records (`RECORD_FORMAT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// One event a record.
    Single,
    /// The KPL's aggregated records; a lone event stays a plain record.
    Kpl,
    /// One gzip member of newline-terminated events; an event that holds a newline itself, and a
    /// lone event that fits the target as it is, stay plain records.
    Gzip,
}

impl FromStr for RecordFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "single" => Ok(Self::Single),
            "kpl" => Ok(Self::Kpl),
            "gzip" => Ok(Self::Gzip),
            _ => Err("no such record format"),
        }
    }
}

/// A record, and which of the batch's items are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedRecord {
    /// What is put.
    pub record: Record,
    /// Indexes into [`Batch::items`].
    pub items: Range<usize>,
}

/// A packed batch.
#[derive(Debug, Default)]
pub struct Packing {
    /// Records in the batch's order; each item is in just one of them, or in `too_large`.
    pub records: Vec<PackedRecord>,
    /// Items that fit no record.
    pub too_large: Vec<usize>,
}

/// Packs batch after batch.
pub struct Packer {
    format: RecordFormat,
    record_bytes_target: usize,
    record_bytes_max: usize,
    compressor: Compressor,
    /// Raw bytes a compressed byte, as the last member had it: the first guess for the next.
    gzip_ratio: f64,
    raw: Vec<u8>,
}

/// How far below the target a gzip record may end before it is worth compressing again with more.
const GZIP_FILL_MIN: f64 = 0.85;

/// Compressions of one record at the most.
const GZIP_GUESSES_MAX: usize = 5;

impl Packer {
    /// A packer that fills records up to `record_bytes_target` bytes, partition key included.
    pub fn new(format: RecordFormat, record_bytes_target: usize) -> Self {
        Self {
            format,
            record_bytes_target,
            record_bytes_max: RECORD_BYTES_MAX,
            compressor: Compressor::new(CompressionLvl::default()),
            gzip_ratio: 5.0,
            raw: Vec::new(),
        }
    }

    /// Lets a single event make a record of so many bytes, partition key included, where the stream's
    /// `MaxRecordSizeInKiB` allows it.
    #[must_use]
    pub fn with_record_bytes_max(self, record_bytes_max: usize) -> Self {
        Self { record_bytes_max, ..self }
    }

    /// Packs the batch; `next_key` gives each record its partition key.
    pub fn pack(&mut self, batch: &Batch, mut next_key: impl FnMut() -> String) -> Packing {
        let mut packing = Packing::default();
        match self.format {
            RecordFormat::Single => {
                for item in 0..batch.items.len() {
                    self.push_plain(&mut packing, batch, item, next_key());
                }
            }
            RecordFormat::Kpl => self.pack_kpl(batch, &mut next_key, &mut packing),
            RecordFormat::Gzip => self.pack_gzip(batch, &mut next_key, &mut packing),
        }
        packing
    }

    fn pack_kpl(
        &self,
        batch: &Batch,
        next_key: &mut impl FnMut() -> String,
        packing: &mut Packing,
    ) {
        let mut first = 0;
        while first < batch.items.len() {
            let key = next_key();
            let mut bytes = aggregate::frame_bytes(key.len());
            let mut last = first;
            while let Some(item) = batch.items.get(last) {
                let more = aggregate::event_bytes(batch.bytes_of(item).len());
                if bytes + more + key.len() > self.record_bytes_target {
                    break;
                }
                bytes += more;
                last += 1;
            }
            if last <= first + 1 {
                self.push_plain(packing, batch, first, key);
                first += 1;
                continue;
            }
            let events = batch.items[first..last].iter().map(|item| batch.bytes_of(item));
            let data = aggregate::aggregate(&key, bytes, events);
            packing.records.push(PackedRecord {
                record: Record { partition_key: key, data },
                items: first..last,
            });
            first = last;
        }
        let aggregates = packing.records.iter_mut().filter(|packed| packed.items.len() > 1);
        aggregate::seal(aggregates.map(|packed| &mut packed.record.data));
    }

    fn pack_gzip(
        &mut self,
        batch: &Batch,
        next_key: &mut impl FnMut() -> String,
        packing: &mut Packing,
    ) {
        let has_newline =
            |item: usize| memchr::memchr(b'\n', batch.bytes_of(&batch.items[item])).is_some();
        let (mut first, mut run) = (0, 0);
        while first < batch.items.len() {
            let key = next_key();
            if has_newline(first) {
                self.push_plain(packing, batch, first, key);
                first += 1;
                continue;
            }
            // The run of events that can share a member outlasts the member that begins it.
            if run <= first {
                let end = (first + 1..batch.items.len()).find(|&item| has_newline(item));
                run = end.unwrap_or(batch.items.len());
            }
            let (member, last) = self.gzip_member(batch, first..run, key.len());
            let alone = last == first + 1;
            let plain_bytes = batch.bytes_of(&batch.items[first]).len() + key.len();
            if alone && plain_bytes <= self.record_bytes_target {
                self.push_plain(packing, batch, first, key);
            } else if member.len() + key.len() <= self.record_bytes_max {
                packing.records.push(PackedRecord {
                    record: Record { partition_key: key, data: member },
                    items: first..last,
                });
            } else {
                packing.too_large.push(first);
            }
            first = last;
        }
    }

    /// The longest gzip member that a few guesses find among the items of `run`, and where it ends.
    /// It holds one item at least, and fits the target when it holds more.
    fn gzip_member(
        &mut self,
        batch: &Batch,
        run: Range<usize>,
        key_bytes: usize,
    ) -> (Vec<u8>, usize) {
        let target = self.record_bytes_target.saturating_sub(key_bytes);
        let mut best: Option<(Vec<u8>, usize)> = None;
        // The member cannot end at `beyond` or later.
        let mut beyond = run.end + 1;
        for _ in 0..GZIP_GUESSES_MAX {
            let raw_bytes = (target as f64 * self.gzip_ratio * 0.97) as usize;
            let least = best.as_ref().map_or(run.start + 1, |(_, end)| end + 1);
            if least >= beyond {
                break;
            }
            let end = self.append_raw(batch, run.clone(), raw_bytes).clamp(least, beyond - 1);
            self.append_raw(batch, run.start..end, usize::MAX);
            let member = self.compress();
            self.gzip_ratio = (self.raw.len() as f64 / member.len() as f64).max(0.5);
            if member.len() > target && end > run.start + 1 {
                beyond = end;
            } else {
                let full = member.len() as f64 >= target as f64 * GZIP_FILL_MIN;
                best = Some((member, end));
                if full || end == run.end {
                    break;
                }
            }
        }
        best.unwrap_or_else(|| {
            self.append_raw(batch, run.start..run.start + 1, usize::MAX);
            (self.compress(), run.start + 1)
        })
    }

    /// Makes `raw` the items of `run`, up to `bytes_max`; returns where it ended.
    fn append_raw(&mut self, batch: &Batch, run: Range<usize>, bytes_max: usize) -> usize {
        self.raw.clear();
        for index in run.clone() {
            let event = batch.bytes_of(&batch.items[index]);
            if self.raw.len() + event.len() + 1 > bytes_max {
                return index;
            }
            self.raw.extend_from_slice(event);
            self.raw.push(b'\n');
        }
        run.end
    }

    fn compress(&mut self) -> Vec<u8> {
        gzip::compress_with(&mut self.compressor, &self.raw)
    }

    fn push_plain(&self, packing: &mut Packing, batch: &Batch, item: usize, key: String) {
        let data = batch.bytes_of(&batch.items[item]);
        if data.len() + key.len() > self.record_bytes_max {
            packing.too_large.push(item);
            return;
        }
        packing.records.push(PackedRecord {
            record: Record { partition_key: key, data: data.to_vec() },
            items: item..item + 1,
        });
    }
}

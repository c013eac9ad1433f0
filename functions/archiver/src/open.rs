//! The events in a record, whichever of the formats it has.

use std::vec;

use libdeflater::Decompressor;
use sluice::gzip::{inflate, is_gzip};
use sluice::records::{Deaggregated, UserRecord, deaggregate};

/// A buffer larger than this is given back before the next record.
const KEPT_BUFFER_BYTES_MAX: usize = 16 * 1_048_576;

/// Opens record after record with the same buffer.
#[derive(Default)]
pub struct Opener {
    inflater: Decompressor,
    inflated: Vec<u8>,
}

#[derive(Debug)]
pub struct Opened<'a> {
    /// One at least, in order.
    pub events: Events<'a>,
    /// Why a record that looked like an aggregate or gzip is one event after all.
    pub damage: Option<String>,
}

/// Iterates over a record's events.
#[derive(Debug)]
pub enum Events<'a> {
    /// The record is one event, or none is left.
    Plain(Option<&'a [u8]>),
    Aggregate(vec::IntoIter<UserRecord<'a>>),
    /// Of newline-delimited text that was compressed; `None` when none is left.
    Lines(Option<&'a [u8]>),
}

impl<'a> Iterator for Events<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Plain(event) => event.take(),
            Self::Aggregate(records) => records.next().map(|record| record.data),
            Self::Lines(rest) => {
                let text = rest.take()?;
                let Some(end) = memchr::memchr(b'\n', text) else { return Some(text) };
                *rest = Some(&text[end + 1..]);
                Some(&text[..end])
            }
        }
    }
}

impl Opener {
    /// Finds the events in a record's data. What is damaged is one event, as it came.
    pub fn open<'a>(&'a mut self, data: &'a [u8]) -> Opened<'a> {
        let plain = |damage| Opened { events: Events::Plain(Some(data)), damage };
        match deaggregate(data) {
            Deaggregated::Aggregate(records) => {
                return Opened { events: Events::Aggregate(records.into_iter()), damage: None };
            }
            Deaggregated::Damaged(damage) => return plain(Some(damage.to_string())),
            Deaggregated::Plain => {}
        }
        if !is_gzip(data) {
            return plain(None);
        }
        if self.inflated.len() > KEPT_BUFFER_BYTES_MAX {
            self.inflated = Vec::new();
        }
        match inflate(&mut self.inflater, data, &mut self.inflated) {
            Ok(0) => plain(Some("the gzip data are empty".to_owned())),
            Ok(bytes) => {
                let text = &self.inflated[..bytes];
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                Opened { events: Events::Lines(Some(text)), damage: None }
            }
            Err(error) => plain(Some(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice::logs::Batch;
    use sluice::records::{Packer, RecordFormat};
    use sluice_simulated::logs::gzip;

    fn events(data: &[u8]) -> (Vec<Vec<u8>>, Option<String>) {
        let mut opener = Opener::default();
        let opened = opener.open(data);
        (opened.events.map(<[u8]>::to_vec).collect(), opened.damage)
    }

    #[test]
    fn every_format_that_the_processor_writes_is_opened() {
        let sent = ["one", "", "three", "日本語"];
        for format in [RecordFormat::Single, RecordFormat::Kpl, RecordFormat::Gzip] {
            let packing = Packer::new(format, 24_900).pack(&Batch::of(&sent), || "key".to_owned());
            let mut read = Vec::new();
            for packed in packing.records {
                let (mut events, damage) = events(&packed.record.data);
                assert_eq!(damage, None);
                read.append(&mut events);
            }
            assert_eq!(read, sent.map(|event| event.as_bytes().to_vec()), "{format:?}");
        }
    }

    #[test]
    fn gzip_of_others_is_opened_with_or_without_a_last_newline() {
        for text in ["a\nb", "a\nb\n"] {
            assert_eq!(events(&gzip(text.as_bytes())), (vec![b"a".to_vec(), b"b".to_vec()], None));
        }
        let members = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(events(&members).0, [b"a", b"b"]);
    }

    #[test]
    fn what_is_damaged_is_one_event_as_it_came() {
        let whole = gzip(b"a\nb\n");
        for data in [
            &whole[..whole.len() - 3],
            b"\x1f\x8b and no more of gzip",
            b"\xf3\x89\x9a\xc2 and no more of an aggregate",
            &gzip(b""),
        ] {
            let (events, damage) = events(data);
            assert_eq!(events, [data.to_vec()]);
            assert!(damage.is_some(), "{data:?}");
        }
    }
}

//! Packing: consumers read every event once, in order, within every bound.

use sluice::limits::RECORD_BYTES_MAX;
use sluice::logs::Batch;
use sluice::records::{Packer, RecordFormat};
use sluice_simulated::consumer::events_of;

use super::Target;
use crate::bytes::Bytes;

pub(super) const TARGET: Target = Target {
    name: "records",
    check,
    seeds,
    words: &["\n", "\n\n", "\0\u{1}x", "\u{7f}", "\u{ff}\u{ff}", "0123456789abcdef"],
};

/// Events of one input together.
const BATCH_BYTES_MAX: usize = 3 * RECORD_BYTES_MAX;

fn check(input: &[u8]) {
    let mut input = Bytes(input);
    let target = 1_024 + input.number(2) as usize;
    let key = "k".repeat(1 + usize::from(input.byte()));
    let mut events: Vec<String> = Vec::new();
    let mut bytes = 0;
    while !input.is_empty() {
        // Few bytes make long events, too: the text, so many times.
        let times = match input.byte() {
            often @ 0xfe.. => 1 << (often - 0xf1),
            times @ 0xe0.. => usize::from(times - 0xe0),
            _ => 1,
        };
        let text = input.text();
        bytes += text.len() * times;
        if bytes > BATCH_BYTES_MAX {
            break;
        }
        events.push(text.repeat(times));
    }
    check_formats(&Batch::of(&events), target, &key);
}

/// Packs the batch in every format, and reads it back.
pub(super) fn check_formats(batch: &Batch, target: usize, key: &str) {
    for format in [RecordFormat::Single, RecordFormat::Kpl, RecordFormat::Gzip] {
        let packing = Packer::new(format, target).pack(batch, || key.to_owned());
        let mut seen = vec![0; batch.items.len()];
        for packed in &packing.records {
            let items = &batch.items[packed.items.clone()];
            let bytes = packed.record.bytes();
            assert!(bytes <= RECORD_BYTES_MAX, "{format:?}: a record of {bytes} bytes");
            assert!(bytes <= target || items.len() == 1, "{format:?}: {bytes} bytes");
            let read = events_of(&packed.record.data, &packed.record.partition_key);
            let expected: Vec<_> = items.iter().map(|item| batch.bytes_of(item)).collect();
            assert!(read == expected, "{format:?}: consumers read something else");
            packed.items.clone().for_each(|item| seen[item] += 1);
        }
        for &item in &packing.too_large {
            let bytes = batch.bytes_of(&batch.items[item]).len() + key.len();
            assert!(bytes > RECORD_BYTES_MAX, "{format:?}: an event of {bytes} bytes fits");
            seen[item] += 1;
        }
        assert!(seen.iter().all(|&times| times == 1), "{format:?}: not each event once");
        assert!(packing.records.is_sorted_by_key(|packed| packed.items.start));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let events = |texts: &[&str]| -> Vec<u8> {
        texts.iter().flat_map(|text| [&[1, text.len() as u8], text.as_bytes()].concat()).collect()
    };
    let head = [4, 0, 20];
    vec![
        [&head[..], &events(&["one", "two", "", "four\nlines\n", "five", "\n"])].concat(),
        [&head[..], &events(&["é😀"; 30])].concat(),
        [&head[..], &[0xe9, 16], b"0123456789abcdef", &[0xfd, 100], &[b'x'; 100]].concat(),
        [&head[..], &events(&["a long event that is said once more"; 40])].concat(),
        // 33 bytes 2^15 times: no record takes it.
        [&head[..], &[0xff, 33], b"0123456789abcdef0123456789abcdef!", &events(&["after"])]
            .concat(),
    ]
}

//! Aggregates of other writers, and our own, are read right: those of AWS's aggregator in Python
//! (`aggregates/make.py` made them), and whatever the packer writes.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use proptest::prelude::*;
use serde::Deserialize;
use sluice::logs::Batch;
use sluice::records::{Deaggregated, Packer, RecordFormat, Spread, UserRecord, deaggregate};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    partition_key: String,
    explicit_hash_key: Option<String>,
    data: String,
}

fn aggregate(data: &[u8]) -> Vec<UserRecord<'_>> {
    match deaggregate(data) {
        Deaggregated::Aggregate(records) => records,
        other => panic!("an aggregate, not {other:?}"),
    }
}

#[test]
fn aggregates_by_awss_own_aggregator_are_read_right() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aggregates");
    let expected = fs::read(corpus.join("expected.json")).expect("a corpus");
    let expected: std::collections::BTreeMap<String, Vec<Expected>> =
        serde_json::from_slice(&expected).expect("JSON");
    assert_eq!(expected.len(), 7);
    for (name, expected) in expected {
        let data = fs::read(corpus.join(format!("{name}.bin"))).expect("an aggregate");
        let read = aggregate(&data);
        assert_eq!(read.len(), expected.len(), "{name}");
        for (read, expected) in read.iter().zip(expected) {
            assert_eq!(read.partition_key, expected.partition_key, "{name}");
            assert_eq!(read.explicit_hash_key.as_deref(), expected.explicit_hash_key.as_deref());
            let data = base64_simd::STANDARD.decode_to_vec(expected.data).expect("base64");
            assert_eq!(read.data, data, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_the_packer_writes_is_read_back(
        events in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..60),
        target in 1_024usize..60_000,
    ) {
        let batch = Batch::of(&events);
        let mut spread = Spread::new(&mut Rng::with_seed(1));
        let packing = Packer::new(RecordFormat::Kpl, target).pack(&batch, || spread.next_key());
        for packed in packing.records {
            let events = &events[packed.items];
            if let [alone] = events {
                prop_assert_eq!(&packed.record.data, alone);
                continue;
            }
            let read = aggregate(&packed.record.data);
            let data: Vec<_> = read.iter().map(|record| record.data).collect();
            prop_assert_eq!(data, events);
            for record in read {
                prop_assert_eq!(record.partition_key, packed.record.partition_key.as_str());
                prop_assert_eq!(record.explicit_hash_key, None);
            }
        }
    }

    #[test]
    fn a_mutated_aggregate_is_one_plain_record(
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let events: Vec<String> = (0..20).map(|number| format!("event {number}")).collect();
        let batch = Batch::of(&events);
        let packing = Packer::new(RecordFormat::Kpl, 60_000).pack(&batch, || "key".to_owned());
        let mut data = packing.records[0].record.data.clone();
        let place = place.index(data.len());
        data[place] ^= 1 << bit;
        prop_assert!(!matches!(deaggregate(&data), Deaggregated::Aggregate(_)));
    }
}

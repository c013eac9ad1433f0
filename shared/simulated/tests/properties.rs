//! Properties of the library for any input, with the simulated AWS as the other side.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fastrand::Rng;
use proptest::prelude::*;
use serde_json::Value;
use sluice::delivery::{DeadLetter, Invocation, Reason};
use sluice::invocation::Backoff;
use sluice::limits::{RECORD_BYTES_MAX, SQS_MESSAGE_BYTES_MAX};
use sluice::logs::{Batch, Decoder, Envelope, Passthrough};
use sluice::ports::{Clock, PutError};
use sluice::records::{
    CallLimits, Pacer, Packer, PutPolicy, Record, RecordFormat, Spread, Stopped, put_all,
};
use sluice_simulated::consumer::events_of;
use sluice_simulated::{Fault, Stream, VirtualClock, logs};

const FORMATS: [RecordFormat; 3] = [RecordFormat::Single, RecordFormat::Kpl, RecordFormat::Gzip];

/// Messages of all kinds, some of them longer than a record's target.
fn any_messages() -> impl Strategy<Value = Vec<String>> {
    let message = prop_oneof![
        4 => any::<String>(),
        4 => "[ -~]{0,300}",
        1 => "[a-z\n]{0,40}",
        1 => (0usize..30_000).prop_map(|length| "é".repeat(length)),
    ];
    proptest::collection::vec(message, 0..80)
}

/// Events as bytes, so large at times that no record takes them.
fn any_events() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let event = prop_oneof![
        6 => proptest::collection::vec(any::<u8>(), 0..400),
        2 => (0usize..40_000).prop_map(|length| vec![b'x'; length]),
        1 => (RECORD_BYTES_MAX - 20..RECORD_BYTES_MAX + 20).prop_map(|length| vec![b'\n'; length]),
    ]
    // An event of arbitrary bytes may look like an aggregate or gzip; log messages cannot.
    .prop_filter("no magic", |event| {
        !event.starts_with(&[0x1f, 0x8b]) && !event.starts_with(&[0xf3])
    });
    proptest::collection::vec(event, 0..60)
}

proptest! {
    // PROPTEST_RNG_SEED repeats a run; `make test` prints it.
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn decode_undoes_what_cloudwatch_did(messages in any_messages()) {
        let payload = logs::payload(&messages, 1_000);
        let event = logs::event(&payload);
        let mut decoder = Decoder::new();
        let decoded = decoder.decode(event.as_bytes()).expect("a payload");
        prop_assert_eq!(decoded.log_group.value(), logs::LOG_GROUP);
        prop_assert_eq!(decoded.log_stream.value(), logs::LOG_STREAM);
        prop_assert_eq!(decoded.log_events.len(), messages.len());
        for (place, (log_event, message)) in decoded.log_events.iter().zip(&messages).enumerate() {
            prop_assert_eq!(log_event.timestamp_ms, 1_000 + place as i64);
            prop_assert_eq!(log_event.message.value(), message.as_str());
        }
    }

    #[test]
    fn both_transforms_give_the_message_back(messages in any_messages()) {
        let event = logs::event(&logs::payload(&messages, 1_000));
        let mut decoder = Decoder::new();
        let payload = decoder.decode(event.as_bytes()).expect("a payload");
        let bare = Batch::transform(&Passthrough, &payload);
        let enveloped = Batch::transform(&Envelope, &payload);
        for (place, message) in messages.iter().enumerate() {
            prop_assert_eq!(bare.bytes_of(&bare.items[place]), message.as_bytes());
            let line = enveloped.bytes_of(&enveloped.items[place]);
            prop_assert!(!line.contains(&b'\n'));
            let object: Value = serde_json::from_slice(line).expect("an envelope is JSON");
            prop_assert_eq!(object["message"].as_str(), Some(message.as_str()));
        }
    }

    #[test]
    fn a_remainder_holds_just_its_events_and_fits_a_message(
        messages in any_messages(),
        picked in any::<u64>(),
    ) {
        let event = logs::event(&logs::payload(&messages, 1_000));
        let events: Vec<usize> =
            (0..messages.len()).filter(|place| picked >> (place % 64) & 1 == 1).collect();
        let mut decoder = Decoder::new();
        let payload = decoder.decode(event.as_bytes()).expect("a payload");
        let invocation = Invocation { now_ms: 0, replay: None };
        let dead_letters = DeadLetter::remainder(&payload, &events, Reason::Deadline, "detail", invocation);
        let mut again = Vec::new();
        for dead_letter in &dead_letters {
            prop_assert!(dead_letter.body.len() < SQS_MESSAGE_BYTES_MAX);
            let mut decoder = Decoder::new();
            let payload = decoder.decode(dead_letter.body.as_bytes()).expect("a payload");
            prop_assert_eq!(dead_letter.log_events, Some(payload.log_events.len()));
            again.extend(payload.log_events.iter().map(|e| e.message.value().into_owned()));
        }
        let expected: Vec<&String> = events.iter().map(|&event| &messages[event]).collect();
        prop_assert_eq!(again.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn packing_holds_every_event_once_in_order_within_bounds(
        events in any_events(),
        target in 1_024usize..60_000,
    ) {
        for format in FORMATS {
            let batch = Batch::of(&events);
            let mut spread = Spread::new(&mut Rng::with_seed(1));
            let packing = Packer::new(format, target).pack(&batch, || spread.next_key());
            let mut next = 0;
            for packed in &packing.records {
                prop_assert!(packed.items.start >= next);
                next = packed.items.end;
                let bytes = packed.record.bytes();
                prop_assert!(bytes <= RECORD_BYTES_MAX);
                prop_assert!(bytes <= target || packed.items.len() == 1, "{bytes} bytes");
                let unpacked = events_of(&packed.record.data, &packed.record.partition_key);
                prop_assert_eq!(&unpacked[..], &events[packed.items.clone()]);
            }
            let packed: usize = packing.records.iter().map(|packed| packed.items.len()).sum();
            prop_assert_eq!(packed + packing.too_large.len(), events.len());
            for &item in &packing.too_large {
                prop_assert!(events[item].len() + 4 > RECORD_BYTES_MAX);
            }
        }
    }

    #[test]
    fn decoding_anything_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut decoder = Decoder::new();
        let _ = decoder.decode(&bytes);
        let _ = decoder.decode(logs::event_of_data(&bytes).as_bytes());
        let _ = decoder.decode(logs::event_of_data(&logs::gzip(&bytes)).as_bytes());
    }

    #[test]
    fn damaging_a_payload_never_changes_a_message_in_silence(
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let messages = ["first", "second", "third"];
        let mut gzip = logs::gzip(logs::payload(&messages, 1_000).to_string().as_bytes());
        let at = place.index(gzip.len());
        gzip[at] ^= 1 << bit;
        let mut decoder = Decoder::new();
        if let Ok(payload) = decoder.decode(logs::event_of_data(&gzip).as_bytes()) {
            let read: Vec<_> = payload.log_events.iter().map(|e| e.message.value()).collect();
            prop_assert_eq!(read, messages);
        }
    }

    #[test]
    fn whatever_is_refused_goes_again_and_nothing_else_does(
        records in 1usize..900,
        seed in any::<u64>(),
        fault_percent in 0u64..95,
        attempts_max in 1u32..12,
        in_order in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let clock = VirtualClock::begin();
            let stream = Stream::new(clock, 3);
            let rng = Rc::new(RefCell::new(Rng::with_seed(seed)));
            let losses = Rc::new(RefCell::new(0));
            let lost = Rc::clone(&losses);
            stream.set_faults(move |call| {
                let mut rng = rng.borrow_mut();
                if rng.u64(..100) >= fault_percent {
                    return Fault::None;
                }
                match rng.u64(..5) {
                    0 => {
                        *lost.borrow_mut() += call.entries;
                        Fault::AnswerLost
                    }
                    1 => Fault::Error(PutError::Transient {
                        code: "InternalFailure".to_owned(),
                        detail: String::new(),
                    }),
                    2 if rng.u64(..20) == 0 => Fault::Hang,
                    _ => Fault::RefuseEntries((0..call.entries).filter(|_| rng.bool()).collect()),
                }
            });
            let records: Vec<Record> = (0..records)
                .map(|place| Record {
                    partition_key: place.to_string(),
                    data: place.to_string().into_bytes(),
                })
                .collect();
            let policy = PutPolicy {
                call_limits: CallLimits::PUT_RECORDS,
                attempts_max,
                calls_in_flight_max: 4,
                backoff: Backoff::full_jitter(100, 5_000),
                in_order,
            };
            let cutoff = clock.epoch_ms() + 30_000;
            let report = put_all(
                &&stream,
                &clock,
                &mut Pacer::new(1),
                &mut Rng::with_seed(seed),
                &policy,
                &records,
                cutoff,
            )
            .await;
            assert!(clock.epoch_ms() <= cutoff + 1, "control came back late");
            assert_eq!(report.stopped.is_some(), !report.remaining.is_empty());
            if let Some(Stopped::Permanent { .. }) = report.stopped {
                panic!("no fault was permanent");
            }

            let mut times: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            for stored in stream.records() {
                *times.entry(stored.record.data).or_default() += 1;
            }
            let mut extra = 0;
            for (place, record) in records.iter().enumerate() {
                let count = times.get(&record.data).copied().unwrap_or(0);
                let remains = report.remaining.binary_search(&place).is_ok();
                assert!(count > 0 || remains, "record {place} is nowhere");
                extra += (count + usize::from(remains)).saturating_sub(1);
            }
            // Only a lost answer may write an entry twice, or leave one over that was written.
            assert!(extra <= *losses.borrow(), "{extra} entries went again without a reason");
        });
    }
}

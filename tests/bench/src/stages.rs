//! Where our handler's CPU goes, stage by stage, at payloads of the promise's size.
//!
//! Each stage runs alone, over the same payloads, on this thread, whose own CPU time counts, and
//! the quietest of many runs is told. What the stages do not sum up to is the handler's report and
//! its futures.

use std::hint::black_box;
use std::time::Duration;

use base64_simd::{Out, STANDARD};
use libdeflater::Decompressor;
use rustix::time::{ClockId, clock_gettime};
use serde_json::value::RawValue;
use sluice::logs::{Batch, Decoder, Envelope, Passthrough, Transform};
use sluice::ports::PutRecords;
use sluice::records::{Packer, Record, RecordFormat, Spread};

use crate::payloads::{self, EventBody};
use crate::sink::Sink;
use crate::{Error, PROMISE_PAYLOAD_BYTES, ours};

const PAYLOADS: usize = 20;
const ROUNDS: usize = 25;

struct Stage {
    name: &'static str,
    ms_per_mb: f64,
}

pub fn print(sink: &Sink, seed: u64) -> Result<(), Error> {
    let events = payloads::generate(seed, PAYLOADS, PROMISE_PAYLOAD_BYTES)?;
    println!(
        "\nstages of ours, kpl, {} KB payloads: ms CPU/MB, the least of {ROUNDS} runs",
        PROMISE_PAYLOAD_BYTES / 1_000
    );
    for stage in measure(sink, &events)? {
        println!("  {:<44} {:>6.3}", stage.name, stage.ms_per_mb);
    }
    Ok(())
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn measure(sink: &Sink, events: &[EventBody]) -> Result<Vec<Stage>, Error> {
    let mb = events.iter().map(|event| event.payload_bytes).sum::<usize>() as f64 / 1e6;
    let mut failed = None;
    let mut stage = |name, run: &mut dyn FnMut(usize) -> Result<(), Error>| {
        let least = (0..ROUNDS)
            .map(|_| {
                let before = thread_cpu();
                for event in 0..events.len() {
                    if let Err(error) = run(event) {
                        failed = Some(error);
                    }
                }
                thread_cpu() - before
            })
            .min()
            .unwrap_or_default();
        Stage { name, ms_per_mb: least.as_secs_f64() * 1e3 / mb }
    };

    let texts = events
        .iter()
        .map(|event| Ok(std::str::from_utf8(&event.json)?))
        .collect::<Result<Vec<_>, Error>>()?;
    let compressed = texts
        .iter()
        .map(|text| {
            let event: serde_json::Value = serde_json::from_str(text)?;
            let data = event["awslogs"]["data"].as_str().ok_or("no data")?.to_owned();
            let bytes = STANDARD.decode_to_vec(&data).map_err(|_| "not base64")?;
            Ok((data, bytes))
        })
        .collect::<Result<Vec<(String, Vec<u8>)>, Error>>()?;
    let mut buffer = vec![0; PROMISE_PAYLOAD_BYTES * 2];

    let runtime_read = stage("Lambda runtime: body to RawValue", &mut |event| {
        black_box(serde_json::from_slice::<Box<RawValue>>(&events[event].json)?);
        Ok(())
    });
    let base64 = stage("decode: base64", &mut |event| {
        let out = Out::from_slice(&mut buffer);
        black_box(STANDARD.decode(compressed[event].0.as_bytes(), out))
            .map_err(|_| "not base64")?;
        Ok(())
    });
    let mut inflater = Decompressor::new();
    let inflate = stage("decode: inflate", &mut |event| {
        black_box(inflater.gzip_decompress(&compressed[event].1, &mut buffer))?;
        Ok(())
    });
    let mut decoder = Decoder::new();
    let mut decode = stage("decode: event and payload JSON, UTF-8, CRC", &mut |event| {
        black_box(decoder.decode(texts[event].as_bytes())?);
        Ok(())
    });
    decode.ms_per_mb -= base64.ms_per_mb + inflate.ms_per_mb;

    let mut decoders: Vec<Decoder> = events.iter().map(|_| Decoder::new()).collect();
    let payloads = decoders
        .iter_mut()
        .zip(&texts)
        .map(|(decoder, text)| Ok(decoder.decode(text.as_bytes())?))
        .collect::<Result<Vec<_>, Error>>()?;
    let passthrough = stage("transform: passthrough", &mut |event| {
        black_box(Batch::transform(&Passthrough as &dyn Transform, &payloads[event]));
        Ok(())
    });
    let envelope = stage("transform: envelope, in place of that", &mut |event| {
        black_box(Batch::transform(&Envelope as &dyn Transform, &payloads[event]));
        Ok(())
    });

    let batches: Vec<Batch> =
        payloads.iter().map(|payload| Batch::transform(&Passthrough, payload)).collect();
    let mut packer = Packer::new(RecordFormat::Kpl, 24_900);
    let mut spread = Spread::new(&mut fastrand::Rng::with_seed(1));
    let packed: Vec<Vec<Record>> = batches
        .iter()
        .map(|batch| {
            let packing = packer.pack(batch, || spread.next_key());
            packing.records.into_iter().map(|packed| packed.record).collect()
        })
        .collect();
    let pack = stage("pack: aggregates and their MD5s", &mut |event| {
        black_box(packer.pack(&batches[event], || spread.next_key()));
        Ok(())
    });

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = ours::stream(&format!("http://127.0.0.1:{}", sink.port()))?;
    let put = stage("put: one PutRecords call through the SDK", &mut |event| {
        let records: Vec<&Record> = packed[event].iter().collect();
        runtime.block_on(stream.put_records(&records))?;
        Ok(())
    });

    let mut processor =
        ours::processor(&format!("http://127.0.0.1:{}", sink.port()), RecordFormat::Kpl, false)?;
    let whole = stage("the whole invocation, passthrough", &mut |event| {
        runtime.block_on(ours::handle(&mut processor, &events[event].json))
    });
    match failed {
        Some(error) => Err(error),
        None => {
            Ok(vec![runtime_read, base64, inflate, decode, passthrough, envelope, pack, put, whole])
        }
    }
}

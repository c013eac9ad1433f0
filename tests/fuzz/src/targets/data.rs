//! `awslogs.data`: base64 and gzip, whole, damaged, in several members, lying about their length.

use std::io::Read;

use base64_simd::STANDARD;
use flate2::bufread::GzDecoder;
use sluice::limits::PAYLOAD_INFLATED_BYTES_MAX;
use sluice::logs::{DecodeError, Decoder};
use sluice_simulated::logs;

use super::{Target, data_of};
use crate::memory::peak_bytes_of;

pub(super) const TARGET: Target = Target {
    name: "data",
    check,
    seeds,
    words: &["\u{1f}", "\0", "\u{1}\0\0\u{ff}\u{ff}", "=", "==", "AAAA", "messageType"],
};

/// What a decoder holds beside its buffers.
const OVERHEAD_BYTES: usize = 256 * 1_024;
/// A log event that is held is this many times as large as the least JSON that says it.
const EVENT_FACTOR: usize = 8;

const SEEN_BEFORE: &[u8] = br#"{"messageType":"CONTROL_MESSAGE","padding":[1,2,3,4,5,6,7,8,9,10]}"#;

/// The first byte says how the rest comes to be data.
fn check(input: &[u8]) {
    let Some((how, rest)) = input.split_first() else { return };
    let data = match how % 4 {
        0 => String::from_utf8_lossy(rest).into_owned(),
        1 => STANDARD.encode_to_string(rest),
        2 => {
            let (first, second) = rest.split_at(rest.len() / 2);
            STANDARD.encode_to_string([logs::gzip(first), logs::gzip(second)].concat())
        }
        _ => {
            let (gzip, trailer) = rest.split_at(rest.len().saturating_sub(4));
            let mut gzip = logs::gzip(gzip);
            let at = gzip.len() - trailer.len();
            gzip[at..].copy_from_slice(trailer);
            STANDARD.encode_to_string(gzip)
        }
    };
    let mut decoder = Decoder::new();
    let (decoded, peak) = peak_bytes_of(|| decoder.decode_data(&data).map(|payload| payload.bytes));

    let compressed = STANDARD.decode_to_vec(&data).ok();
    let inflated = compressed.as_deref().map(inflate);
    let inflated_bytes = match &inflated {
        Some(Ok(text)) => text.len(),
        _ => 0,
    };
    let bound =
        PAYLOAD_INFLATED_BYTES_MAX + data.len() + EVENT_FACTOR * inflated_bytes + OVERHEAD_BYTES;
    assert!(peak <= bound, "{peak} bytes held for {} bytes of data", data.len());

    match (&decoded, compressed, inflated) {
        (Err(DecodeError::NotBase64), None, _) => return,
        (_, None, _) | (Err(DecodeError::NotBase64), ..) => panic!("base64: {decoded:?}"),
        (_, Some(compressed), Some(Ok(text))) if compressed.starts_with(&[0x1f, 0x8b]) => {
            let mut plain = Decoder::new();
            let plain = plain.decode_data(&data_of(&text)).map(|payload| payload.bytes);
            assert_eq!(decoded, plain, "however it is compressed");
        }
        (Ok(_), ..) => panic!("made up from damaged data"),
        (Err(error), ..) => assert!(matches!(error, DecodeError::Gzip(_)), "{error:?}"),
    }

    // What the decoder saw before is forgotten.
    let again = decoder.decode_data(&data).map(|payload| payload.bytes);
    assert_eq!(again, decoded);
    assert!(decoder.decode_data(&data_of(SEEN_BEFORE)).is_ok());
    let again = decoder.decode_data(&data).map(|payload| payload.bytes);
    assert_eq!(again, decoded);
}

/// All members and the padding after each, by another inflater.
fn inflate(compressed: &[u8]) -> Result<Vec<u8>, ()> {
    let mut text = Vec::new();
    let mut rest = compressed;
    loop {
        let bound = (PAYLOAD_INFLATED_BYTES_MAX + 1 - text.len()) as u64;
        let mut member = GzDecoder::new(rest).take(bound);
        member.read_to_end(&mut text).map_err(drop)?;
        if text.len() > PAYLOAD_INFLATED_BYTES_MAX {
            return Err(());
        }
        rest = member.into_inner().into_inner();
        match rest.iter().position(|&byte| byte != 0) {
            Some(padding) => rest = &rest[padding..],
            None => return Ok(text),
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let json = logs::payload(&["one", "two"], 1_000).to_string();
    let gzip = logs::gzip(json.as_bytes());
    let base64 = STANDARD.encode_to_string(&gzip);
    let length = json.len() as u32;
    vec![
        [b"\0", base64.as_bytes()].concat(),
        [b"\x01", &*gzip].concat(),
        [b"\x01", &*gzip, &*gzip].concat(),
        [b"\x01", &*gzip, &[0; 9]].concat(),
        [b"\x01", &*gzip, &[0; 9], &*gzip].concat(),
        [b"\x01", &*gzip, b"after it"].concat(),
        [b"\x02", json.as_bytes()].concat(),
        [b"\x03", json.as_bytes(), &length.to_le_bytes()].concat(),
        [b"\x03", json.as_bytes(), &(64_u32 << 20).to_le_bytes()].concat(),
    ]
}

//! What a payload may cost in memory, whatever it claims.

use base64_simd::STANDARD;
use sluice::gzip::InflateError;
use sluice::limits::PAYLOAD_INFLATED_BYTES_MAX;
use sluice::logs::{DecodeError, Decoder};
use sluice_fuzz::memory::peak_bytes_of;
use sluice_simulated::logs::gzip;

/// What a decoder holds beside its two buffers.
const OVERHEAD_BYTES: usize = 1_048_576;

#[test]
fn no_payload_is_inflated_beyond_the_bound() {
    let spaces = |bytes: usize| gzip(&vec![b' '; bytes]);
    let mut lying = spaces(1_000);
    let at = lying.len() - 4;
    lying[at..].copy_from_slice(&(PAYLOAD_INFLATED_BYTES_MAX as u32).to_le_bytes());
    let half = spaces(PAYLOAD_INFLATED_BYTES_MAX / 2 + 1);
    for (name, gzip, error) in [
        ("a bomb", spaces(PAYLOAD_INFLATED_BYTES_MAX + 1), InflateError::TooLarge.into()),
        ("a bomb of two", [&*half, &*half].concat(), InflateError::TooLarge.into()),
        ("just below", [&*half, &*spaces(9)].concat(), DecodeError::NotJson(33_554_442)),
        ("a lie", lying, InflateError::Corrupt.into()),
    ] {
        let data = STANDARD.encode_to_string(gzip);
        let mut decoder = Decoder::new();
        let (decoded, peak) = peak_bytes_of(|| decoder.decode_data(&data).map(|_| ()));
        assert_eq!(decoded, Err(error), "{name}");
        let bound = PAYLOAD_INFLATED_BYTES_MAX + data.len() + OVERHEAD_BYTES;
        assert!(peak <= bound, "{name}: {peak} bytes");
    }
}

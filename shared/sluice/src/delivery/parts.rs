//! What no message can hold, in parts: gzip, cut to pieces that each fit one as base64.

use base64_simd::STANDARD;
use serde::{Deserialize, Serialize};

use crate::gzip;

/// Compressed bytes of one part: as base64 they leave room for everything else in the 1 MiB that
/// SQS takes.
const PART_BYTES_MAX: usize = 750_000;

/// One of the parts. All of them, decoded and joined in their order, are one gzip member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Length of the whole before it was compressed.
    pub bytes: usize,
    /// Which part it is, from 1.
    pub part: usize,
    /// How many there are.
    pub parts: usize,
    /// Base64 of this part of the gzip.
    pub data_gzip: String,
}

/// Cuts `whole` into as few parts as hold it: one at least.
pub fn parts_of(whole: &[u8]) -> Vec<Part> {
    let gzip = gzip::compress(whole);
    let pieces = gzip.chunks(PART_BYTES_MAX);
    let parts = pieces.len();
    pieces
        .zip(1..)
        .map(|(piece, part)| Part {
            bytes: whole.len(),
            part,
            parts,
            data_gzip: STANDARD.encode_to_string(piece),
        })
        .collect()
}

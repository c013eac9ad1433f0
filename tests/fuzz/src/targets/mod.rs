//! The targets.

mod data;
mod dead_letter;
mod event;
mod payload;
mod records;
mod text;

use base64_simd::STANDARD;
use libdeflater::{CompressionLvl, Compressor};

/// Something that must hold for any bytes.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics when it does not hold.
    pub check: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What the code under test looks for, and mutations would hardly hit upon.
    pub words: &'static [&'static str],
}

/// Every target.
pub const TARGETS: [Target; 6] = [
    event::TARGET,
    data::TARGET,
    payload::TARGET,
    text::TARGET,
    records::TARGET,
    dead_letter::TARGET,
];

/// `awslogs.data` of a payload.
fn data_of(text: &[u8]) -> String {
    let mut compressor = Compressor::new(CompressionLvl::fastest());
    let mut gzip = vec![0; compressor.gzip_compress_bound(text.len())];
    let bytes = compressor.gzip_compress(text, &mut gzip).expect("the bound is large enough");
    STANDARD.encode_to_string(&gzip[..bytes])
}

/// A generator of random numbers that belongs to the input.
fn rng_of(input: &[u8]) -> fastrand::Rng {
    let fnv = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    fastrand::Rng::with_seed(input.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// Whether SQS takes the text in a body or an attribute. (SQS API, SendMessage; Nov 2026)
fn sqs_takes(text: &str) -> bool {
    let takes =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    !text.is_empty() && text.chars().all(takes)
}

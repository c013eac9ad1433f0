//! The KPL's aggregated record: magic, protobuf `AggregatedRecord`, MD5 of the protobuf.
//!
//! Format: awslabs/kinesis-aggregation, `messages.proto` and the KPL's aggregation-format page,
//! read in November 2026. Every sub-record carries the outer record's one partition key and no
//! explicit hash key: KCL discards an aggregate in which a sub-record's key hashes outside the
//! shard's range.

use md5::{Digest, Md5};
use wide::u32x8;

pub(super) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
pub(super) const DIGEST_BYTES: usize = 16;

/// Protobuf tags, `field << 3 | wire type`.
const PARTITION_KEY_TABLE: u8 = 1 << 3 | 2;
const RECORDS: u8 = 3 << 3 | 2;
const RECORD_PARTITION_KEY_INDEX: u8 = 1 << 3;
const RECORD_DATA: u8 = 3 << 3 | 2;

fn varint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn append_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Length of the `Record` message that holds `data_bytes`, without its own tag and length.
fn record_message_bytes(data_bytes: usize) -> usize {
    2 + 1 + varint_bytes(data_bytes) + data_bytes
}

/// What an aggregate without events takes, under a partition key of `key_bytes`.
pub(super) fn frame_bytes(key_bytes: usize) -> usize {
    MAGIC.len() + 1 + varint_bytes(key_bytes) + key_bytes + DIGEST_BYTES
}

/// What one event of `data_bytes` adds.
pub(super) fn event_bytes(data_bytes: usize) -> usize {
    let message = record_message_bytes(data_bytes);
    1 + varint_bytes(message) + message
}

/// The aggregate of `events`, `bytes` long with the digest that [`seal`] is to append.
pub(super) fn aggregate<'a>(
    partition_key: &str,
    bytes: usize,
    events: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes + PADDING_BYTES_MAX);
    data.extend_from_slice(&MAGIC);
    data.push(PARTITION_KEY_TABLE);
    append_varint(partition_key.len(), &mut data);
    data.extend_from_slice(partition_key.as_bytes());
    for event in events {
        data.push(RECORDS);
        append_varint(record_message_bytes(event.len()), &mut data);
        data.extend_from_slice(&[RECORD_PARTITION_KEY_INDEX, 0, RECORD_DATA]);
        append_varint(event.len(), &mut data);
        data.extend_from_slice(event);
    }
    debug_assert_eq!(data.len() + DIGEST_BYTES, bytes);
    data
}

/// Appends to each aggregate the MD5 of what follows its magic.
pub(super) fn seal<'a>(aggregates: impl Iterator<Item = &'a mut Vec<u8>>) {
    let mut aggregates: Vec<_> = aggregates.collect();
    for few in aggregates.chunks_mut(LANES) {
        match few {
            [one] => {
                let digest = Md5::digest(&one[MAGIC.len()..]);
                one.extend_from_slice(&digest);
            }
            several => seal_several(several),
        }
    }
}

// One MD5 is a chain of steps that wait for each other, which leaves a core mostly idle. Eight at
// once, in the lanes of two vector registers (SSE2 or NEON, which every target has), take about as
// long as three or four one after the other (docs/experiments/performance.md). The lanes do RFC 1321, step by
// step.

const LANES: usize = 8;
const BLOCK_BYTES: usize = 64;
/// A one bit, zeros and the length: at most a block and what that needs of the next.
const PADDING_BYTES_MAX: usize = BLOCK_BYTES + 8;

/// [`seal`] for 2 to [`LANES`] aggregates.
fn seal_several(aggregates: &mut [&mut Vec<u8>]) {
    let lengths: Vec<usize> = aggregates.iter().map(|data| data.len()).collect();
    for data in aggregates.iter_mut() {
        pad(data);
    }
    let blocks: Vec<&[[u8; BLOCK_BYTES]]> =
        aggregates.iter().map(|data| data[MAGIC.len()..].as_chunks().0).collect();
    let mut digests = [[0; DIGEST_BYTES]; LANES];
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476].map(u32x8::splat);
    for block in 0..blocks.iter().map(|lane| lane.len()).max().unwrap_or_default() {
        // A lane that is done, or was never used, goes on with zeros for nobody.
        let block_of = |lane: usize| blocks.get(lane).and_then(|blocks| blocks.get(block));
        let row = std::array::from_fn(|lane| block_of(lane).unwrap_or(&[0; BLOCK_BYTES]));
        compress(&mut state, row);
        for (lane, _) in blocks.iter().enumerate().filter(|(_, own)| own.len() == block + 1) {
            for (bytes, word) in digests[lane].as_chunks_mut().0.iter_mut().zip(&state) {
                *bytes = word.to_array()[lane].to_le_bytes();
            }
        }
    }
    for ((data, length), digest) in aggregates.iter_mut().zip(lengths).zip(digests) {
        data.truncate(length);
        data.extend_from_slice(&digest);
    }
}

/// Fills what follows the magic up to whole blocks, as MD5 does.
fn pad(data: &mut Vec<u8>) {
    let message_bytes = data.len() - MAGIC.len();
    data.push(0x80);
    let whole = (message_bytes + 1 + 8).next_multiple_of(BLOCK_BYTES);
    data.resize(MAGIC.len() + whole - 8, 0);
    data.extend_from_slice(&(message_bytes as u64 * 8).to_le_bytes());
}

/// The constants of the 64 steps: the integer parts of 2^32 · |sin(step + 1)|.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// Takes one block a lane into the state.
fn compress(state: &mut [u32x8; 4], blocks: [&[u8; BLOCK_BYTES]; LANES]) {
    let words: [u32x8; 16] = std::array::from_fn(|word| {
        u32x8::new(blocks.map(|block| u32::from_le_bytes(block.as_chunks().0[word])))
    });
    let before = *state;
    round(0, state, &words, [7, 12, 17, 22], |step| step, |x, y, z| z ^ (x & (y ^ z)));
    round(16, state, &words, [5, 9, 14, 20], |step| 5 * step + 1, |x, y, z| y ^ (z & (x ^ y)));
    round(32, state, &words, [4, 11, 16, 23], |step| 3 * step + 5, |x, y, z| x ^ y ^ z);
    round(48, state, &words, [6, 10, 15, 21], |step| 7 * step, |x, y, z| y ^ (x | !z));
    for (now, before) in state.iter_mut().zip(before) {
        *now += before;
    }
}

/// Sixteen steps.
#[inline(always)]
fn round(
    first: usize,
    state: &mut [u32x8; 4],
    words: &[u32x8; 16],
    shifts: [u32; 4],
    word_of: impl Fn(usize) -> usize,
    mix: impl Fn(u32x8, u32x8, u32x8) -> u32x8,
) {
    let [mut a, mut b, mut c, mut d] = *state;
    let turn = |a: u32x8, b, c, d, step: usize| {
        let sum = a + mix(b, c, d) + words[word_of(step) % 16] + u32x8::splat(SINES[first + step]);
        let shift = shifts[step % 4];
        ((sum << shift) | (sum >> (u32::BITS - shift))) + b
    };
    for step in [0, 4, 8, 12] {
        a = turn(a, b, c, d, step);
        d = turn(d, a, b, c, step + 1);
        c = turn(c, d, a, b, step + 2);
        b = turn(b, c, d, a, step + 3);
    }
    *state = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn every_aggregate_ends_with_the_md5_of_its_own_message(
            lengths in proptest::collection::vec(0usize..300, 0..11)
        ) {
            let unsealed: Vec<Vec<u8>> = lengths
                .iter()
                .enumerate()
                .map(|(first, &bytes)| {
                    let message = (first..first + bytes).map(|byte| byte as u8);
                    MAGIC.into_iter().chain(message).collect()
                })
                .collect();
            let mut sealed = unsealed.clone();
            seal(sealed.iter_mut());
            for (sealed, unsealed) in sealed.iter().zip(&unsealed) {
                let (data, digest) = sealed.split_at(unsealed.len());
                prop_assert_eq!(data, unsealed);
                prop_assert_eq!(digest, &Md5::digest(&data[MAGIC.len()..])[..]);
            }
        }
    }
}

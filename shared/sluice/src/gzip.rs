//! gzip: the members that this library writes, and everything that others may send.

use std::io::{ErrorKind, Read};

use flate2::bufread::GzDecoder;
use libdeflater::{CompressionLvl, Compressor, Crc, Decompressor};

use crate::limits::PAYLOAD_INFLATED_BYTES_MAX;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Bytes before the deflate stream and after it in the smallest gzip member.
const BYTES_MIN: usize = 18;
/// Checksum and length.
const TRAILER_BYTES: usize = 8;
/// No byte of deflate says more: 258 bytes in two bits. (zlib, "Technical details"; Nov 2026)
const DEFLATE_RATIO_MAX: usize = 1_032;

/// Why data cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// They do not begin as gzip does.
    #[error("the data do not begin with a gzip header")]
    NotGzip,
    /// They end within a member.
    #[error("the gzip data end early")]
    Truncated,
    /// Header, deflate stream or checksum is wrong.
    #[error("the gzip data are damaged")]
    Corrupt,
    /// Something other than zeros or another member follows a complete member.
    #[error("there are data after the gzip end")]
    DataAfterEnd,
    /// They inflate to more than [`PAYLOAD_INFLATED_BYTES_MAX`].
    #[error("the data inflate to more than {PAYLOAD_INFLATED_BYTES_MAX} bytes")]
    TooLarge,
}

/// Whether data begin as gzip does.
pub fn is_gzip(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// Compresses `data` into one member.
///
/// ```
/// use sluice::gzip;
///
/// let mut text = Vec::new();
/// let length = gzip::inflate(&mut Default::default(), &gzip::compress(b"a line\n"), &mut text)?;
/// assert_eq!(&text[..length], b"a line\n");
/// # Ok::<(), gzip::InflateError>(())
/// ```
pub fn compress(data: &[u8]) -> Vec<u8> {
    compress_with(&mut Compressor::new(CompressionLvl::default()), data)
}

/// Compresses `data` into one member, with a compressor that is used again.
pub fn compress_with(compressor: &mut Compressor, data: &[u8]) -> Vec<u8> {
    let mut member = vec![0; compressor.gzip_compress_bound(data.len())];
    let bytes = compressor.gzip_compress(data, &mut member);
    member.truncate(bytes.expect("libdeflate promises that its bound holds the member"));
    member
}

/// Inflates gzip into `inflated` and returns the length, at most [`PAYLOAD_INFLATED_BYTES_MAX`].
///
/// When the trailer tells the truth about one member, as it does in everything that CloudWatch Logs
/// and our packer send, one call inflates it all. Otherwise it inflates as a stream, which reads
/// several members and is not misled by a lying trailer. Zeros after a member are padding, as for
/// gzip(1) and Python; anything else that follows must be another member.
pub fn inflate(
    inflater: &mut Decompressor,
    compressed: &[u8],
    inflated: &mut Vec<u8>,
) -> Result<usize, InflateError> {
    if !is_gzip(compressed) {
        return Err(InflateError::NotGzip);
    }
    let possible = compressed.len().saturating_mul(DEFLATE_RATIO_MAX);
    if let Some((crc, length)) = trailer_of(compressed)
        && length <= possible.min(PAYLOAD_INFLATED_BYTES_MAX)
    {
        if inflated.len() < length {
            inflated.resize(length, 0);
        }
        // libdeflate stops after the first member. That it was the last one, too, shows in the
        // trailer: it has the checksum, and nothing before it could be that member's own trailer.
        let (trailer, before) =
            (&compressed[compressed.len() - TRAILER_BYTES..], &compressed[..compressed.len() - 1]);
        if inflater.gzip_decompress(compressed, &mut inflated[..length]) == Ok(length)
            && checksum(&inflated[..length]) == crc
            && memchr::memmem::find(before, trailer).is_none()
        {
            return Ok(length);
        }
    }
    inflate_stream(compressed, inflated, possible)
}

fn trailer_of(compressed: &[u8]) -> Option<(u32, usize)> {
    if compressed.len() < BYTES_MIN {
        return None;
    }
    let (rest, length) = compressed.split_last_chunk::<4>()?;
    let (_, crc) = rest.split_last_chunk::<4>()?;
    Some((u32::from_le_bytes(*crc), u32::from_le_bytes(*length) as usize))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn inflate_stream(
    compressed: &[u8],
    inflated: &mut Vec<u8>,
    possible: usize,
) -> Result<usize, InflateError> {
    inflated.clear();
    let bound = PAYLOAD_INFLATED_BYTES_MAX + 1;
    // A buffer that doubles as it grows would end at twice the bound.
    inflated.reserve_exact(possible.min(bound));
    let mut rest = compressed;
    while !rest.is_empty() {
        if !MAGIC.starts_with(&rest[..rest.len().min(MAGIC.len())]) {
            return Err(InflateError::DataAfterEnd);
        }
        let mut member = GzDecoder::new(rest).take((bound - inflated.len()) as u64);
        member.read_to_end(inflated).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => InflateError::Truncated,
            _ => InflateError::Corrupt,
        })?;
        if inflated.len() > PAYLOAD_INFLATED_BYTES_MAX {
            return Err(InflateError::TooLarge);
        }
        rest = member.into_inner().into_inner();
        let padding = rest.iter().take_while(|&&byte| byte == 0).count();
        rest = &rest[padding..];
    }
    Ok(inflated.len())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn inflated(compressed: &[u8]) -> Result<Vec<u8>, InflateError> {
        // A buffer that holds something already, as one that is used again does.
        let mut buffer = vec![b'x'; 100];
        let length = inflate(&mut Decompressor::new(), compressed, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn zeros(bytes: usize) -> Vec<u8> {
        compress(&vec![0; bytes])
    }

    proptest! {
        #[test]
        fn any_number_of_members_with_any_padding_is_read_back(
            members in vec((vec(any::<u8>(), 0..5_000), 0usize..20), 1..5),
        ) {
            let mut compressed = Vec::new();
            for (data, padding) in &members {
                compressed.extend(compress(data));
                compressed.extend(vec![0; *padding]);
            }
            let whole = members.into_iter().flat_map(|(data, _)| data).collect();
            prop_assert_eq!(inflated(&compressed), Ok(whole));
        }

        #[test]
        fn what_is_cut_short_or_changed_is_never_taken_for_whole(
            data in vec(any::<u8>(), 1..2_000),
            place: prop::sample::Index,
            bit in 0..8u32,
        ) {
            let member = compress(&data);
            prop_assert!(inflated(&member[..place.index(member.len())]).is_err());
            let mut changed = member.clone();
            let place = place.index(changed.len());
            changed[place] ^= 1 << bit;
            // A time in the header, or deflate's padding bits, are no part of the data.
            if let Ok(read) = inflated(&changed) {
                prop_assert_eq!(read, data);
            }
        }
    }

    #[test]
    fn no_more_is_inflated_than_may_be() {
        let most = zeros(PAYLOAD_INFLATED_BYTES_MAX);
        assert_eq!(inflated(&most).map(|data| data.len()), Ok(PAYLOAD_INFLATED_BYTES_MAX));
        let too_large = Err(InflateError::TooLarge);
        assert_eq!(inflated(&zeros(PAYLOAD_INFLATED_BYTES_MAX + 1)), too_large);
        let half = zeros(PAYLOAD_INFLATED_BYTES_MAX / 2 + 1);
        assert_eq!(inflated(&[&*half, &*half].concat()), too_large, "in two members");
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let member = compress(b"text");
        assert_eq!(inflated(b""), Err(InflateError::NotGzip));
        assert_eq!(inflated(b"text"), Err(InflateError::NotGzip));
        assert_eq!(inflated(&member[..member.len() - 1]), Err(InflateError::Truncated));
        assert_eq!(inflated(&[&*member, b"more"].concat()), Err(InflateError::DataAfterEnd));
        let mut damaged = member;
        damaged[12] ^= 0xff;
        assert_eq!(inflated(&damaged), Err(InflateError::Corrupt));
    }
}

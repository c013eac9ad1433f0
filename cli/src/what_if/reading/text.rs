//! Lines of text out of bytes: encodings, line ends, and what is no text at all.

use std::io::{self, BufRead, BufReader, Read};

use crate::what_if::trace::{TraceError, at, whole};
use sluice::limits::{TRACE_BYTES_MAX, TRACE_LINE_BYTES_MAX};

/// UTF-8 text of `input`, whose encoding its first bytes tell. What is not UTF-8 stays as it is.
pub fn decoded<'a>(input: impl Read + 'a) -> Result<Box<dyn BufRead + 'a>, TraceError> {
    let mut input = input.take(TRACE_BYTES_MAX + 1);
    let mut head = Vec::new();
    (&mut input).take(4).read_to_end(&mut head).map_err(|error| whole(error.to_string()))?;
    let rest = |skip: usize| io::Cursor::new(head[skip..].to_vec());
    let utf16 = |skip: usize, is_big_endian: bool, input: io::Take<_>| {
        let bytes = rest(skip).chain(input);
        let text = Utf16 { bytes, is_big_endian, left: Vec::new(), out: Vec::new(), given: 0 };
        Box::new(BufReader::new(text)) as Box<dyn BufRead>
    };
    match head[..] {
        [0x1f, 0x8b, ..] => Err(whole("it is gzip: unpack it first")),
        [b'P', b'K', 3, 4] => {
            Err(whole("it is a zip archive or an Excel workbook: save it as CSV"))
        }
        [0xef, 0xbb, 0xbf, ..] => Ok(Box::new(BufReader::new(rest(3).chain(input)))),
        [0xff, 0xfe, ..] => Ok(utf16(2, false, input)),
        [0xfe, 0xff, ..] => Ok(utf16(2, true, input)),
        // Without a mark: every second byte of such text is zero.
        [one, 0, two, 0] if one > 0 && two > 0 => Ok(utf16(0, false, input)),
        [0, one, 0, two] if one > 0 && two > 0 => Ok(utf16(0, true, input)),
        _ => Ok(Box::new(BufReader::new(rest(0).chain(input)))),
    }
}

/// UTF-16 as UTF-8.
struct Utf16<R> {
    bytes: R,
    is_big_endian: bool,
    left: Vec<u8>,
    out: Vec<u8>,
    given: usize,
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.out.len() {
            let mut chunk = [0; 16_384];
            let read = self.bytes.read(&mut chunk)?;
            if read == 0 && self.left.is_empty() {
                return Ok(0);
            }
            self.left.extend_from_slice(&chunk[..read]);
            let pair = |pair: &[u8]| match self.is_big_endian {
                true => u16::from_be_bytes([pair[0], pair[1]]),
                false => u16::from_le_bytes([pair[0], pair[1]]),
            };
            let mut units: Vec<u16> = self.left.chunks_exact(2).map(pair).collect();
            let is_half = |unit: &u16| (0xd800..0xdc00).contains(unit);
            if read > 0 && units.last().is_some_and(is_half) {
                units.pop();
            }
            let text: String = char::decode_utf16(units.iter().copied())
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            self.left.drain(..if read > 0 { units.len() * 2 } else { self.left.len() });
            (self.out, self.given) = (text.into_bytes(), 0);
            if read == 0 && self.out.is_empty() {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.out.len() - self.given);
        buffer[..length].copy_from_slice(&self.out[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

/// Lines that end with LF, CRLF or CR.
pub struct Lines<R> {
    input: R,
    bytes: Vec<u8>,
    number: u64,
    read: u64,
    after_cr: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`.
    pub fn new(input: R) -> Self {
        Self { input, bytes: Vec::new(), number: 0, read: 0, after_cr: false }
    }

    /// The next line's number, from 1, and its text.
    pub fn next_line(&mut self) -> Result<Option<(u64, String)>, TraceError> {
        self.bytes.clear();
        self.number += 1;
        loop {
            let chunk =
                self.input.fill_buf().map_err(|error| at(self.number, error.to_string()))?;
            if chunk.is_empty() {
                if self.bytes.is_empty() {
                    return Ok(None);
                }
                break;
            }
            if std::mem::take(&mut self.after_cr) && chunk[0] == b'\n' {
                self.input.consume(1);
                self.read += 1;
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', chunk);
            self.bytes.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
            self.after_cr = end.is_some_and(|end| chunk[end] == b'\r');
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.input.consume(used);
            self.read += used as u64;
            if self.read > TRACE_BYTES_MAX {
                return Err(whole(format!(
                    "it is larger than {} MB: sum the traffic up by the minute first",
                    TRACE_BYTES_MAX / 1_000_000
                )));
            }
            if self.bytes.len() > TRACE_LINE_BYTES_MAX {
                let problem =
                    format!("longer than {TRACE_LINE_BYTES_MAX} bytes: this is not a table");
                return Err(at(self.number, problem));
            }
            if end.is_some() {
                break;
            }
        }
        let is_binary = |byte: &u8| *byte < b' ' && *byte != b'\t';
        if self.bytes.iter().any(is_binary) {
            return Err(at(
                self.number,
                "this is not text but binary data: give a CSV or JSON file",
            ));
        }
        let text = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.to_owned(),
            // Latin-1: blanks between thousands, umlauts in names.
            Err(_) => self.bytes.iter().map(|&byte| char::from(byte)).collect(),
        };
        Ok(Some((self.number, text)))
    }
}

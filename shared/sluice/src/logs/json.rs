//! A strict, borrowing JSON scanner for one shape: strings stay raw slices of the input.
//!
//! It exists for speed: the payload is read once, nothing is unescaped unless somebody asks, and
//! a log event's own JSON stays at hand for the dead-letter queue. docs/decisions/libraries.md, "Why
//! our own JSON scanner?", has the figures.

use std::borrow::Cow;
use std::ops::Range;

/// Values nested deeper than this are refused; CloudWatch Logs nests two deep.
const DEPTH_MAX: u32 = 64;

/// Where and why a text is not the JSON that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScanError {
    pub offset: usize,
    pub kind: ScanErrorKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanErrorKind {
    /// Not JSON at all.
    Syntax,
    /// JSON, of another shape.
    Shape(&'static str),
}

/// A JSON string as it stands in the input: quoted, escaped, valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonStr<'a>(&'a str);

impl<'a> JsonStr<'a> {
    /// The empty string.
    pub const EMPTY: JsonStr<'static> = JsonStr("\"\"");

    /// The string with its quotes and escapes.
    pub fn raw(self) -> &'a str {
        self.0
    }

    fn inner(self) -> &'a str {
        &self.0[1..self.0.len() - 1]
    }

    /// The string's value. Half a surrogate pair, which UTF-8 cannot say, becomes U+FFFD.
    pub fn value(self) -> Cow<'a, str> {
        let inner = self.inner();
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Cow::Borrowed(inner);
        }
        let mut value = Vec::with_capacity(inner.len());
        self.append_value_to(&mut value);
        Cow::Owned(String::from_utf8_lossy(&value).into_owned())
    }

    /// Appends the string's value, as [`value`](Self::value) gives it.
    pub fn append_value_to(self, out: &mut Vec<u8>) {
        let inner = self.inner();
        let bytes = inner.as_bytes();
        let Some(mut read) = memchr::memchr(b'\\', bytes) else {
            out.extend_from_slice(bytes);
            return;
        };
        // Where there is one escape there are many, in JSON within JSON: words are copied whole,
        // and what follows an escape in them is overwritten. No value is longer than its escapes.
        let start = out.len();
        out.resize(start + bytes.len(), 0);
        let value = &mut out[start..];
        value[..read].copy_from_slice(&bytes[..read]);
        let mut written = read;
        while read < bytes.len() {
            if let Some(word) = word_at(bytes, read) {
                value[written..written + 8].copy_from_slice(&word.to_le_bytes());
                let found = equal(word, b'\\');
                let plain = if found == 0 { 8 } else { first_byte(found) };
                read += plain;
                written += plain;
                if found == 0 {
                    continue;
                }
            } else if bytes[read] != b'\\' {
                value[written] = bytes[read];
                read += 1;
                written += 1;
                continue;
            }
            value[written] = match bytes[read + 1] {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'b' => 0x08,
                b'f' => 0x0c,
                b'u' => {
                    let (character, length) = unicode_escape(&inner[read..]);
                    written += character.encode_utf8(&mut value[written..]).len();
                    read += length;
                    continue;
                }
                other => other,
            };
            read += 2;
            written += 1;
        }
        out.truncate(start + written);
    }

    /// Appends the string as JSON on one line. It is copied as it came, but that `\uXXXX` becomes
    /// the character itself where JSON allows it: six bytes a character would make a message of the
    /// largest size too large for a record.
    pub fn append_json_to(self, out: &mut Vec<u8>) {
        let mut rest = self.0;
        if memchr::memmem::find(rest.as_bytes(), b"\\u").is_none() {
            out.extend_from_slice(rest.as_bytes());
            return;
        }
        while let Some(backslash) = memchr::memchr(b'\\', rest.as_bytes()) {
            out.extend_from_slice(&rest.as_bytes()[..backslash]);
            let escape = &rest[backslash..];
            let mut used = 2;
            if escape.as_bytes()[1] == b'u' {
                let (character, length) = unicode_escape(escape);
                used = length;
                let needs_escape = character < ' '
                    || matches!(character, '"' | '\\' | char::REPLACEMENT_CHARACTER);
                if !needs_escape {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = &escape[used..];
                    continue;
                }
            }
            out.extend_from_slice(&escape.as_bytes()[..used]);
            rest = &escape[used..];
        }
        out.extend_from_slice(rest.as_bytes());
    }
}

/// The character that `text` begins with, written `\uXXXX` or as two of these, and its length.
fn unicode_escape(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(escape, 16).ok()
    };
    let first = unit(0).unwrap_or(0xfffd);
    if let Some(character) = char::from_u32(u32::from(first)) {
        return (character, 6);
    }
    let pair = unit(6).and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    pair.map_or((char::REPLACEMENT_CHARACTER, 6), |character| (character, 12))
}

/// Reads JSON from left to right.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// A scanner of just that part of a text, whose offsets are those of the text.
    pub fn within(text: &'a str, part: Range<usize>) -> Self {
        Self { text: &text[..part.end], at: part.start }
    }

    pub fn syntax<T>(&self) -> Result<T, ScanError> {
        Err(ScanError { offset: self.at, kind: ScanErrorKind::Syntax })
    }

    pub fn shape<T>(&self, expected: &'static str) -> Result<T, ScanError> {
        Err(ScanError { offset: self.at, kind: ScanErrorKind::Shape(expected) })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Skips white space, then `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), ScanError> {
        if self.take(byte) { Ok(()) } else { self.syntax() }
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Result<(), ScanError> {
        self.skip_whitespace();
        if self.at == self.text.len() { Ok(()) } else { self.syntax() }
    }

    /// Calls `field` with each key of the object that comes next; `field` reads the value.
    pub fn object(
        &mut self,
        expected: &'static str,
        mut field: impl FnMut(&mut Self, JsonStr<'a>) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        self.open(b'{', expected)?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.skip_whitespace();
            if self.peek() != Some(b'"') {
                return self.syntax();
            }
            let key = self.string("a key")?;
            self.expect(b':')?;
            field(self, key)?;
            if !self.take(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// The string that comes next; any other value is skipped.
    pub fn string_if_any(&mut self) -> Result<Option<JsonStr<'a>>, ScanError> {
        self.skip_whitespace();
        if self.next_is(b'"') {
            self.string("a string").map(Some)
        } else {
            self.value().map(|_| None)
        }
    }

    /// Whether the value that comes next begins so.
    pub fn next_is(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        self.peek() == Some(byte)
    }

    /// Finds where the array item that comes next ends, by its brackets and quotes alone: whatever
    /// else is wrong with it, the items after it can be read. Nothing in it may nest too deep,
    /// since nothing recurses.
    pub fn extent(&mut self) -> Result<Range<usize>, ScanError> {
        let start = self.position();
        let mut open = Brackets::default();
        let mut end = start;
        while let Some(byte) = self.peek() {
            match byte {
                b',' | b']' if open.is_empty() => return Ok(start..end),
                b'"' => self.skip_quoted()?,
                b'{' | b'[' => open.push(byte),
                b'}' | b']' if !open.pop(byte) => return self.syntax(),
                _ => {}
            }
            self.at += 1;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                end = self.at;
            }
        }
        self.syntax()
    }

    /// To the quote that ends the string whose first quote comes next, whatever is between them.
    fn skip_quoted(&mut self) -> Result<(), ScanError> {
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return self.syntax();
            };
            self.at += found;
            if rest[found] == b'"' {
                return Ok(());
            }
            self.at += 2;
        }
    }

    /// Calls `item` for each item of the array that comes next; `item` reads it.
    pub fn array(
        &mut self,
        expected: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        self.open(b'[', expected)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.take(b',') {
                return self.expect(b']');
            }
        }
    }

    /// The opening bracket; another value is another shape, anything else is no JSON.
    fn open(&mut self, bracket: u8, expected: &'static str) -> Result<(), ScanError> {
        if self.take(bracket) { Ok(()) } else { self.unexpected(expected) }
    }

    /// What comes next is not what was expected: another shape if it is a value, else no JSON.
    fn unexpected<T>(&mut self, expected: &'static str) -> Result<T, ScanError> {
        let before = self.at;
        self.skip_value(0)?;
        self.at = before;
        self.shape(expected)
    }

    /// The string that comes next.
    pub fn string(&mut self, expected: &'static str) -> Result<JsonStr<'a>, ScanError> {
        self.skip_whitespace();
        if self.peek() != Some(b'"') {
            return self.unexpected(expected);
        }
        let start = self.at;
        self.at += 1;
        loop {
            self.at += plain_run(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(JsonStr(&self.text[start..self.at]));
                }
                Some(b'\\') => self.escape()?,
                _ => return self.syntax(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ScanError> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.text.as_bytes().get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.syntax();
                }
                self.at += 6;
            }
            _ => return self.syntax(),
        }
        Ok(())
    }

    /// The whole number that comes next.
    pub fn integer(&mut self, expected: &'static str) -> Result<i64, ScanError> {
        self.skip_whitespace();
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return self.unexpected(expected);
        }
        let start = self.at;
        self.skip_number()?;
        match self.text[start..self.at].parse() {
            Ok(number) => Ok(number),
            Err(_) => self.shape(expected),
        }
    }

    fn skip_digits(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.syntax() } else { Ok(()) }
    }

    fn skip_number(&mut self) -> Result<(), ScanError> {
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.skip_digits()?;
        }
        Ok(())
    }

    /// Reads any value and returns it as it stands.
    pub fn value(&mut self) -> Result<&'a str, ScanError> {
        self.skip_whitespace();
        let start = self.at;
        self.skip_value(0)?;
        Ok(&self.text[start..self.at])
    }

    fn skip_value(&mut self, depth: u32) -> Result<(), ScanError> {
        if depth > DEPTH_MAX {
            return self.shape("less nesting");
        }
        self.skip_whitespace();
        match self.peek() {
            Some(b'{') => self.object("an object", |scanner, _| scanner.skip_value(depth + 1)),
            Some(b'[') => self.array("an array", |scanner| scanner.skip_value(depth + 1)),
            Some(b'"') => self.string("a string").map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ => {
                let rest = &self.text[self.at..];
                match ["true", "false", "null"].iter().find(|word| rest.starts_with(**word)) {
                    Some(word) => self.at += word.len(),
                    None => return self.syntax(),
                }
                Ok(())
            }
        }
    }

    /// Where the scanner stands; with [`since`](Self::since), the text that a value was read from.
    pub fn position(&mut self) -> usize {
        self.skip_whitespace();
        self.at
    }

    pub fn since(&self, position: usize) -> &'a str {
        &self.text[position..self.at]
    }
}

/// Brackets that are open: a bit each, since a hostile payload may be nothing else.
#[derive(Default)]
struct Brackets {
    are_braces: Vec<u64>,
    count: usize,
}

impl Brackets {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn push(&mut self, bracket: u8) {
        let (word, bit) = (self.count / 64, self.count % 64);
        if word == self.are_braces.len() {
            self.are_braces.push(0);
        }
        let is_brace = u64::from(bracket == b'{') << bit;
        self.are_braces[word] = self.are_braces[word] & !(1 << bit) | is_brace;
        self.count += 1;
    }

    /// Whether `bracket` closes the one that was opened last.
    fn pop(&mut self, bracket: u8) -> bool {
        let Some(last) = self.count.checked_sub(1) else { return false };
        self.count = last;
        let is_brace = self.are_braces[last / 64] >> (last % 64) & 1 == 1;
        is_brace == (bracket == b'}')
    }
}

/// How many bytes come before the first quote, backslash or control character.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    const LANES: usize = 32;
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut run = 0;
    let mut words = 0;
    while let Some(word) = word_at(bytes, run) {
        let found = below_0x20(word) | equal(word, b'"') | equal(word, b'\\');
        if found != 0 {
            return run + first_byte(found);
        }
        run += 8;
        words += 1;
        // A long run: without a branch a byte, so that the compiler makes vector code of it.
        while words >= 4
            && let Some(chunk) = bytes.get(run..run + LANES)
            && !chunk.iter().fold(false, |any, &byte| any | special(byte))
        {
            run += LANES;
        }
    }
    run + bytes[run..].iter().take_while(|&&byte| !special(byte)).count()
}

/// Eight bytes as a number, the first byte lowest.
#[inline]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

// Which bytes of a word are of some kind: their top bits are set. A borrow may set those of bytes
// above a true one, so only the lowest counts.

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const TOP_BITS: u64 = LOW_BITS << 7;

#[inline]
fn below_0x20(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS * 0x20) & !word & TOP_BITS
}

#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (LOW_BITS * u64::from(byte));
    zero.wrapping_sub(LOW_BITS) & !zero & TOP_BITS
}

/// The index of the first byte whose top bit is set.
#[inline]
fn first_byte(found: u64) -> usize {
    (found.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().is_ok() && scanner.end().is_ok()
    }

    fn read(text: &str) -> JsonStr<'_> {
        Scanner::new(text).string("a string").expect("a JSON string")
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(read(r#""a\n\t\"\\\/\b\f\r\u0041""#).value(), "a\n\t\"\\/\u{8}\u{c}\rA");
        assert_eq!(read(r#""\ud83d\ude00 \u00e9""#).value(), "😀 é");
        assert!(matches!(read(r#""plain""#).value(), Cow::Borrowed("plain")));
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        assert_eq!(read(r#""\ud83d""#).value(), "\u{fffd}");
        assert_eq!(read(r#""\ud83dx\ude00""#).value(), "\u{fffd}x\u{fffd}");
        assert_eq!(read(r#""\ud83d\u0041""#).value(), "\u{fffd}A");
    }

    #[test]
    fn json_is_copied_with_unicode_escapes_undone_where_json_allows() {
        for (text, expected) in [
            (r#""plain \n \\ \" ß""#, r#""plain \n \\ \" ß""#),
            (r#""\u00df\ud83d\ude00\u2028""#, "\"ß😀\u{2028}\""),
            (r#""\u0022\u005c\u0000\u001f""#, r#""\u0022\u005c\u0000\u001f""#),
            (r#""\\u00df \\\u00df""#, r#""\\u00df \\ß""#),
            (r#""\ud83d x""#, r#""\ud83d x""#),
        ] {
            let mut out = Vec::new();
            read(text).append_json_to(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
            let again = String::from_utf8_lossy(&out).into_owned();
            assert_eq!(read(&again).value(), read(text).value());
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "01",
            "1.",
            "1e",
            "-",
            "\"\n\"",
            "\"\\q\"",
            "\"\\u12g4\"",
            "nul",
            "\"open",
            "1 2",
            "{a:1}",
        ] {
            assert!(!accepts(text), "{text:?} was accepted");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(accepts(&format!("{}{}", "[".repeat(60), "]".repeat(60))));
        assert!(!accepts(&"[".repeat(100_000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn agrees_with_serde_json_on_strings(value in any::<String>()) {
            let text = serde_json::to_string(&value).expect("a string serialises");
            prop_assert_eq!(read(&text).value(), value);
        }

        #[test]
        fn agrees_with_serde_json_on_strings_full_of_escapes(
            value in "[a-z\"\\\\\n\t\u{1}é😀]{0,200}"
        ) {
            let text = serde_json::to_string(&value).expect("a string serialises");
            prop_assert_eq!(read(&text).value(), value);
        }

        #[test]
        fn accepts_just_what_serde_json_accepts(
            text in r#"[\[\]{}:,"\\ntu0-9a-f.eE+\- ]{0,24}"#
        ) {
            // serde_json refuses a number that is no finite f64; the scanner reads none it does not need.
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(accepts(&text), theirs, "{:?}", text);
        }
    }
}

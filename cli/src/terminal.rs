//! What a person reads on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Text from elsewhere, on one line that makes no terminal do anything.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c) {
            _ if is_printable(c) => plain.push(c),
            code @ ..0x100 => plain.push_str(&format!("\\x{code:02x}")),
            code @ ..0x1_0000 => plain.push_str(&format!("\\u{code:04x}")),
            code => plain.push_str(&format!("\\U{code:08x}")),
        }
    }
    plain
}

/// As the standard library's own escapes have it: neither control nor format characters, which turn
/// text around, nor unassigned ones.
fn is_printable(c: char) -> bool {
    // Behind another character, so that a combining one counts as what it is.
    matches!(c, '"' | '\'' | '\\') || format!("a{c}").escape_debug().nth(1) == Some(c)
}

/// At most `chars_max` characters of it.
pub fn clipped(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// Rows as columns, each as wide as its widest cell.
pub fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let chars = |cell: &String| cell.chars().count();
    let width = |column: usize| rows.iter().map(|row| chars(&row[column])).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut table = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        table.push('\n');
    }
    table
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A duration in the largest unit of which it has two.
pub fn span(seconds: u64) -> String {
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("min", 60)] {
        if seconds >= 2 * length {
            return format!("{} {unit}", seconds / length);
        }
    }
    format!("{seconds} s")
}

/// JSON that no terminal obeys: whatever is not ASCII is escaped.
pub fn ascii_json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let json = serde_json::to_string_pretty(value)?;
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}

/// One line on standard error.
pub fn say(line: &str) {
    writeln!(stderr(), "{line}").ok();
}

/// How far a command is, on standard error: often on a terminal, seldom elsewhere.
pub struct Progress {
    every: Duration,
    next: Instant,
}

impl Progress {
    /// Begins now.
    pub fn start() -> Self {
        let every = Duration::from_millis(if stderr().is_terminal() { 500 } else { 5_000 });
        Self { every, next: Instant::now() + every }
    }

    /// Says `line` if it is time to.
    pub fn say(&mut self, line: &str) {
        if Instant::now() >= self.next {
            say(line);
            self.next = Instant::now() + self.every;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_does_nothing_to_a_terminal() {
        assert_eq!(plain("a\u{1b}[31m\n\u{202e}b\u{7f}"), "a\\x1b[31m\\x0a\\u202eb\\x7f");
        assert_eq!(plain("\u{e0001}\u{2028}"), "\\U000e0001\\u2028");
        let readable = "Grüße \"नमस्ते\" it's \\ e\u{301} 😀";
        assert_eq!(plain(readable), readable);
        let json = ascii_json(&["\u{1b}\u{9b}\u{7f}é😀"]).expect("JSON");
        assert!(json.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{json}");
        let read: [String; 1] = serde_json::from_str(&json).expect("the same");
        assert_eq!(read, ["\u{1b}\u{9b}\u{7f}é😀"]);
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        assert_eq!(clipped("abc", 3), "abc");
        assert_eq!(clipped("äbcd", 3), "äb…");
    }

    #[test]
    fn numbers_and_spans_are_written_for_people() {
        let numbers = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [119, 120, 7_199, 7_200, 172_800].map(span),
            ["119 s", "2 min", "119 min", "2 h", "2 d"]
        );
        let row = |cells: [&str; 2]| cells.map(str::to_owned);
        assert_eq!(table(&[row(["é", "b"]), row(["cc", ""])]), "é   b\ncc\n");
    }
}

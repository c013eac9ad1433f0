//! Numbers as people and spreadsheets write them.

/// What a comma or a point in a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Decimal {
    /// 1,234,567.8
    Point,
    /// 1.234.567,8
    Comma,
}

/// A number, as far as its own text tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A number without a decimal sign or separator.
    Plain(f64),
    /// A number that shows which sign is the decimal one.
    Shows(f64, Decimal),
    /// `1,234` or `1.234`: the first value if this is the decimal sign, a thousand times that if not.
    Either(f64, Decimal),
}

/// Characters between groups of three digits that can be nothing else. A blank may be any of
/// Unicode's that spreadsheets use.
const SEPARATORS: [char; 9] =
    ['_', '\'', '\u{2019}', ' ', '\u{a0}', '\u{202f}', '\u{2009}', '\u{2007}', '\u{66c}'];

/// Reads a number; says what is wrong with it if it is none.
pub fn read_number(text: &str) -> Result<Number, &'static str> {
    const NOT_A_NUMBER: &str = "is not a number";
    let text = text.trim();
    if text.bytes().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E')) {
        let is_special = ["nan", "inf", "infinity"]
            .contains(&text.trim_start_matches(['-', '+']).to_lowercase().as_str());
        return Err(if is_special { "is not finite" } else { NOT_A_NUMBER });
    }
    let is_sign = |c: char| matches!(c, ',' | '.');
    if !text.contains(|c: char| is_sign(c) || SEPARATORS.contains(&c)) {
        return finite(text).map(Number::Plain);
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mantissa = ungrouped(mantissa, &SEPARATORS).ok_or(NOT_A_NUMBER)?;
    let count = |sign: char| mantissa.chars().filter(|&c| c == sign).count();
    let as_decimal = |decimal: Decimal| {
        let (sign, other) = decimal.signs();
        let (whole, fraction) = mantissa.split_once(sign).unwrap_or((&mantissa, ""));
        let whole = ungrouped(whole, &[other]).ok_or(NOT_A_NUMBER)?;
        finite(&format!("{whole}.{fraction}{exponent}"))
    };
    match (count(','), count('.')) {
        (0, 0) => finite(&format!("{mantissa}{exponent}")).map(Number::Plain),
        (0, 1) | (1, 0) => {
            let decimal = if mantissa.contains('.') { Decimal::Point } else { Decimal::Comma };
            let value = as_decimal(decimal)?;
            let grouped = ungrouped(&mantissa, &[decimal.signs().0]);
            let is_either = grouped.is_some() && exponent.is_empty();
            Ok(if is_either {
                Number::Either(value, decimal)
            } else {
                Number::Shows(value, decimal)
            })
        }
        (0, _) => as_decimal(Decimal::Comma).map(|value| Number::Shows(value, Decimal::Comma)),
        (_, 0) => as_decimal(Decimal::Point).map(|value| Number::Shows(value, Decimal::Point)),
        _ => {
            let is_point = mantissa.rfind('.') > mantissa.rfind(',');
            let decimal = if is_point { Decimal::Point } else { Decimal::Comma };
            as_decimal(decimal).map(|value| Number::Shows(value, decimal))
        }
    }
}

impl Decimal {
    /// The decimal sign and the separator of thousands.
    fn signs(self) -> (char, char) {
        match self {
            Self::Point => ('.', ','),
            Self::Comma => (',', '.'),
        }
    }
}

fn finite(text: &str) -> Result<f64, &'static str> {
    let value = text.parse::<f64>().map_err(|_| "is not a number")?;
    if value.is_finite() { Ok(value) } else { Err("is not finite") }
}

/// `text` without separators of thousands; `None` if they do not stand between groups of three
/// digits.
fn ungrouped(text: &str, separators: &[char]) -> Option<String> {
    if !text.contains(separators) {
        return Some(text.to_owned());
    }
    let digits_end = text
        .find(['.', ','])
        .filter(|&at| !separators.contains(&text[at..].chars().next().unwrap_or_default()));
    let (whole, rest) = text.split_at(digits_end.unwrap_or(text.len()));
    if rest.contains(separators) {
        return None;
    }
    let mut groups = whole.split(separators);
    let first = groups.next()?.trim_start_matches(['+', '-']);
    let are_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let is_first = (1..=3).contains(&first.len()) && are_digits(first) && !first.starts_with('0');
    let are_groups = groups.all(|group| group.len() == 3 && are_digits(group));
    (is_first && are_groups).then(|| text.replace(separators, ""))
}

#[cfg(test)]
mod tests {
    use super::Number::{Either, Plain, Shows};
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        use Decimal::{Comma, Point};
        for (text, number) in [
            ("0", Plain(0.0)),
            (" 1234567 ", Plain(1_234_567.0)),
            ("+5", Plain(5.0)),
            ("2e3", Plain(2_000.0)),
            ("1_234_567", Plain(1_234_567.0)),
            ("1 234 567", Plain(1_234_567.0)),
            ("1\u{a0}234\u{202f}567", Plain(1_234_567.0)),
            ("1'234'567", Plain(1_234_567.0)),
            ("12.5", Shows(12.5, Point)),
            ("12,5", Shows(12.5, Comma)),
            (".5", Shows(0.5, Point)),
            ("0.123", Shows(0.123, Point)),
            ("0,123", Shows(0.123, Comma)),
            ("1234.567", Shows(1_234.567, Point)),
            ("1.5E+07", Shows(1.5e7, Point)),
            ("1,234,567", Shows(1_234_567.0, Point)),
            ("1.234.567", Shows(1_234_567.0, Comma)),
            ("1,234.5", Shows(1_234.5, Point)),
            ("1.234.567,8", Shows(1_234_567.8, Comma)),
            ("1 234,5", Shows(1_234.5, Comma)),
            ("1'234.50", Shows(1_234.5, Point)),
            ("1,234", Either(1.234, Comma)),
            ("226.683", Either(226.683, Point)),
        ] {
            assert_eq!(read_number(text), Ok(number), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_guessed() {
        for text in [
            "",
            "-",
            "many",
            "0x10",
            "1,2,3",
            "12,34,567",
            "1,23,456.7",
            "1.2.3",
            "1,234,56",
            "1__234",
            "12 34",
            "1,234.567,8",
            "5 MB",
            "12%",
            "$5",
            "1e",
            "e5",
            "٣",
            "１２",
            "1 2 3",
            "0,123,456",
            "1.5,",
            "--5",
            "1,2.3.4",
            "null",
            "N/A",
        ] {
            assert!(
                read_number(text).is_err() || text == "1.5,",
                "{text:?}: {:?}",
                read_number(text)
            );
        }
        for text in ["NaN", "inf", "-Infinity", "1e999"] {
            assert_eq!(read_number(text), Err("is not finite"), "{text:?}");
        }
    }
}

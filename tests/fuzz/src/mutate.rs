//! Makes inputs out of others: bytes, and the pieces that JSON is made of.

use fastrand::Rng;

/// Changes of one input at the most.
const CHANGES_MAX: usize = 6;
/// No input grows beyond this.
const INPUT_BYTES_MAX: usize = 64 * 1_024;

/// An input made of one of `inputs`, and perhaps of a part of another; `words` are what the target
/// looks for.
pub fn mutate(rng: &mut Rng, inputs: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = rng.choice(inputs).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..=CHANGES_MAX) {
        change(rng, &mut input, inputs, words);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[&str]) {
    let at = rng.usize(..=input.len());
    match rng.u8(..11) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        2 => input.truncate(at),
        3 => {
            let end = (at + rng.usize(1..=8)).min(input.len());
            input.drain(at..end);
        }
        4 => insert(input, at, &[rng.u8(..)]),
        5 | 6 => {
            let word = rng.choice(words).copied().unwrap_or_default();
            insert(input, at, word.as_bytes());
        }
        // Whole pieces: taken out, doubled, put elsewhere, taken from another input.
        7 => {
            let piece = piece(rng, input);
            input.drain(piece);
        }
        8 => {
            let piece = piece(rng, input);
            let copy = input[piece.clone()].to_vec();
            for _ in 0..1 << rng.u8(..4) {
                insert(input, piece.end, &copy);
            }
        }
        9 => {
            let from = piece(rng, input);
            let copy = input[from.clone()].to_vec();
            input.drain(from);
            let to = piece(rng, input).start;
            insert(input, to, &copy);
        }
        _ => {
            let Some(other) = rng.choice(inputs) else { return };
            let (from, into) = (piece(rng, other), piece(rng, input));
            input.splice(into, other[from].iter().copied());
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if input.len() < INPUT_BYTES_MAX {
        input.splice(at..at, bytes.iter().copied());
    }
}

/// From one of JSON's separators to another not far from it.
fn piece(rng: &mut Rng, input: &[u8]) -> std::ops::Range<usize> {
    let is_end = |byte: &u8| matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':' | b'"');
    let from = rng.usize(..=input.len());
    let start = input[from..].iter().position(is_end).map_or(from, |place| from + place);
    let mut end = start;
    for _ in 0..rng.usize(1..=6) {
        let next = input[end..].iter().skip(1).position(is_end);
        end = next.map_or(input.len(), |place| end + 1 + place);
    }
    start..end
}

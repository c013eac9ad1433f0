//! What a function's log would hold.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Collects lines in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `call` logs, as Logs Insights reads them.
///
/// # Panics
/// When a line is not JSON.
pub fn logged(call: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, call);
    let bytes = lines.0.lock().expect("no panic while writing").clone();
    let line = |line: &str| serde_json::from_str(line).expect("a line is JSON");
    String::from_utf8_lossy(&bytes).lines().map(line).collect()
}

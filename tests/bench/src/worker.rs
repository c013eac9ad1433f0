//! A handler in a process of its own, and the turns that the parent asks of it, over its pipes.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sluice::records::RecordFormat;

use crate::payloads::{self, EventBody};
use crate::{Error, ours, plain};

/// The argument that makes this program a worker.
pub const SUBCOMMAND: &str = "worker";

/// Different payloads that a handler sees in turn, so that none is learnt by heart.
const PAYLOADS: usize = 8;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handler {
    /// Ours in this record format, or the plain one.
    pub format: Option<RecordFormat>,
    /// The transform: envelope or passthrough.
    pub envelope: bool,
}

impl Handler {
    /// The order in which handlers take their turns.
    pub const ALL: [Self; 6] = [
        Self { format: None, envelope: false },
        Self { format: Some(RecordFormat::Kpl), envelope: false },
        Self { format: Some(RecordFormat::Single), envelope: false },
        Self { format: Some(RecordFormat::Gzip), envelope: false },
        Self { format: None, envelope: true },
        Self { format: Some(RecordFormat::Kpl), envelope: true },
    ];

    pub fn is_default_format(self) -> bool {
        self.format == Some(RecordFormat::Kpl)
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transform = if self.envelope { "envelope" } else { "passthrough" };
        let name = match self.format {
            None => "plain",
            Some(RecordFormat::Kpl) => "ours, kpl",
            Some(RecordFormat::Single) => "ours, single",
            Some(RecordFormat::Gzip) => "ours, gzip",
        };
        f.pad(&format!("{name}, {transform}"))
    }
}

/// CPU time of this process so far, user and system, all threads.
fn process_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// What one turn took.
pub struct Turn {
    pub cpu: Duration,
    /// Uncompressed payload bytes.
    pub bytes: u64,
}

/// The parent's end of a worker, which ends when this is dropped.
pub struct Worker {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub fn start(
        handler: Handler,
        port: u16,
        seed: u64,
        payload_bytes: usize,
    ) -> Result<Self, Error> {
        let index = Handler::ALL.iter().position(|other| *other == handler).ok_or("no handler")?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SUBCOMMAND)
            .args([
                index.to_string(),
                port.to_string(),
                seed.to_string(),
                payload_bytes.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        Ok(Self { child, requests, answers })
    }

    /// Has the worker handle payloads of about `bytes` in all.
    pub fn turn(&mut self, bytes: usize) -> Result<Turn, Error> {
        let requests = self.requests.as_mut().ok_or("no pipe")?;
        writeln!(requests, "{bytes}")?;
        requests.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let (cpu_ns, bytes) = answer.trim_end().split_once(' ').ok_or("the worker failed")?;
        Ok(Turn { cpu: Duration::from_nanos(cpu_ns.parse()?), bytes: bytes.parse()? })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // At the end of its input it ends.
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}

/// The worker's side.
pub fn serve(arguments: &[String]) -> Result<(), Error> {
    let [index, port, seed, payload_bytes] = arguments else {
        return Err("a worker takes four arguments".into());
    };
    let handler = Handler::ALL[index.parse::<usize>()?];
    let endpoint_url = format!("http://127.0.0.1:{port}");
    let events = payloads::generate(seed.parse()?, PAYLOADS, payload_bytes.parse()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match handler.format {
        Some(format) => {
            let mut processor = ours::processor(&endpoint_url, format, handler.envelope)?;
            answer(&events, |event| runtime.block_on(ours::handle(&mut processor, event)))
        }
        None => {
            let handler = plain::PlainHandler::new(&endpoint_url, handler.envelope);
            answer(&events, |event| runtime.block_on(handler.handle(event)))
        }
    }
}

fn answer(
    events: &[EventBody],
    mut handle: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    for request in io::stdin().lock().lines() {
        let wanted: usize = request?.parse()?;
        let mut bytes = 0;
        let before = process_cpu();
        for event in events.iter().cycle() {
            handle(&event.json)?;
            bytes += event.payload_bytes;
            if bytes >= wanted {
                break;
            }
        }
        let cpu = process_cpu() - before;
        println!("{} {bytes}", cpu.as_nanos());
    }
    Ok(())
}

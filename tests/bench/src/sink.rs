//! A stream that takes everything: PutRecords over HTTP/1.1 on loopback, as cheap as can be.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use memchr::memmem::Finder;

/// What the sink has accepted.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub calls: u64,
    pub records: u64,
    /// Of request bodies.
    pub bytes: u64,
}

impl Seen {
    pub fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            records: self.records - before.records,
            bytes: self.bytes - before.bytes,
        }
    }
}

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

/// The sink, served by a thread a connection.
pub struct Sink {
    port: u16,
    counters: Arc<Counters>,
}

impl Sink {
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let counters = Arc::clone(&shared);
                thread::spawn(move || serve(connection, &counters));
            }
        });
        Ok(Self { port, counters })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn seen(&self) -> Seen {
        Seen {
            calls: self.counters.calls.load(Ordering::SeqCst),
            records: self.counters.records.load(Ordering::SeqCst),
            bytes: self.counters.bytes.load(Ordering::SeqCst),
        }
    }
}

/// Answers calls until the client goes away.
fn serve(connection: TcpStream, counters: &Counters) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(65_536, connection.try_clone()?);
    let mut writer = connection;
    let partition_key = Finder::new(b"\"PartitionKey\"");
    let (mut line, mut body, mut answer) = (String::new(), Vec::new(), String::new());
    loop {
        let mut content_bytes = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let field = line.trim_end();
            if field.is_empty() {
                break;
            }
            if let Some((name, value)) = field.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                content_bytes = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        body.resize(content_bytes, 0);
        reader.read_exact(&mut body)?;
        // Neither base64 nor our keys hold a quote, so this finds one an entry.
        let records = partition_key.find_iter(&body).count();
        counters.calls.fetch_add(1, Ordering::SeqCst);
        counters.records.fetch_add(records as u64, Ordering::SeqCst);
        counters.bytes.fetch_add(content_bytes as u64, Ordering::SeqCst);
        write_answer(&mut answer, records);
        writer.write_all(answer.as_bytes())?;
    }
}

/// Every entry accepted, with as many bytes as Kinesis says it in.
fn write_answer(answer: &mut String, records: usize) {
    const ENTRY: &str = "{\"SequenceNumber\":\
         \"49668899012345678901234567890123456789012345678901234567\",\
         \"ShardId\":\"shardId-000000000000\"}";
    let mut body = String::from("{\"FailedRecordCount\":0,\"Records\":[");
    for index in 0..records {
        body.push_str(if index == 0 { "" } else { "," });
        body.push_str(ENTRY);
    }
    body.push_str("]}");
    answer.clear();
    // Writing to a String cannot fail.
    let _ = write!(
        answer,
        "HTTP/1.1 200 OK\r\nx-amzn-RequestId: c5e4f0aa-3b1e-d5a1-9a5e-6b1f0a2d3c4b\r\n\
         Content-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

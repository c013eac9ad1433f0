//! A Kinesis data stream on loopback, for the demo and the stack tests: ferrokinesis as a library, because its own
//! binary listens on every address. Shards throttle as AWS's do: 1 MB/s or 1,000 records/s each.
//!
//! `stream-engine [PORT] [--arrivals FILE] [--until-stdin-closes]` (port 0 or none: a free one) prints one line, `listening on http://127.0.0.1:PORT`, when it is
//! ready, and stops on Ctrl-C, on SIGTERM, or, with `--until-stdin-closes`, when whoever started it is gone.
//! `--arrivals` writes each accepted record with its arrival in milliseconds: ferrokinesis 0.7.0 cuts the
//! ApproximateArrivalTimestamp that it serves to whole seconds, too coarse for a lag. `/_faults` makes it fail on purpose.

mod faults;

use std::error::Error;
use std::io::{Read, Write};
use std::net::Ipv4Addr;

use axum::extract::DefaultBodyLimit;
use ferrokinesis::capture::CaptureWriter;
use ferrokinesis::store::StoreOptions;
use ferrokinesis::{create_app_with_capture, serve_plain_http};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use faults::Faults;

/// Open shards over all streams: far above what a demo uses, far below what would hide a runaway.
const SHARDS_MAX: u32 = 512;
/// PutRecords takes 10 MiB of records, which base64 swells by a third; axum alone would stop at 2 MB.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a create, delete or reshard keeps the stream busy. AWS needs seconds to minutes.
const STREAM_CHANGE_MS: u64 = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut port = 0;
    let mut until_stdin_closes = false;
    let mut arrivals = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--arrivals" => {
                let file = arguments.next().ok_or("--arrivals: need a file")?;
                arrivals = Some(CaptureWriter::new(file.as_ref(), false)?);
            }
            "--until-stdin-closes" => until_stdin_closes = true,
            number => {
                port = number.parse().map_err(|_| {
                    format!("argument {number:?}: need a port (0 to 65535), --arrivals FILE or --until-stdin-closes")
                })?;
            }
        }
    }
    let (app, _store) = create_app_with_capture(
        StoreOptions {
            enforce_limits: true,
            shard_limit: SHARDS_MAX,
            create_stream_ms: STREAM_CHANGE_MS,
            delete_stream_ms: STREAM_CHANGE_MS,
            update_stream_ms: STREAM_CHANGE_MS,
            ..StoreOptions::default()
        },
        arrivals,
    );
    let app = Faults::default().before(app).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let mut terminated = signal(SignalKind::terminate())?;
    serve_plain_http(listener, app, async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
            () = stdin_closed(until_stdin_closes) => {}
        }
        // Idle keep-alive connections would hold a graceful end for ten seconds; nothing here outlives the process.
        std::process::exit(0);
    })
    .await?;
    Ok(())
}

async fn stdin_closed(wanted: bool) {
    if !wanted {
        std::future::pending::<()>().await;
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut sink = [0; 64];
        while matches!(std::io::stdin().read(&mut sink), Ok(read) if read > 0) {}
        let _ = sender.send(());
    });
    let _ = receiver.await;
}

//! wip
use std::io::BufReader;
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let trace =
        what_if::trace::parse_trace(&args[1], BufReader::new(std::fs::File::open(&args[1])?))?
            .scaled_to_peak(64e6)?;
    let settings = what_if::world::Settings {
        seed: 1,
        payload_bytes: 1e5,
        record_bytes: 24_900.0,
        event_bytes: 300.0,
        readers: 1.0,
        shards_max: 128,
        limits: sluice_cloud::StreamLimits::default(),
    };
    let job = what_if::run::Job { trace: &trace, settings: &settings };
    let mut all = Vec::new();
    for name in args[2].split(',') {
        let begin = std::time::Instant::now();
        all.push(job.play(name).expect("policy"));
        eprintln!("{name} {:?}", begin.elapsed());
    }
    use std::io::Write;
    write!(std::io::stdout(), "{}", what_if::result::table(&all))?;
    if args.len() > 3 {
        write!(std::io::stdout(), "{}", what_if::result::decisions(&all[0]))?;
    }
    Ok(())
}

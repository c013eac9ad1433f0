//! The default policy on real traffic: what the README promises.
//!
//! The traces lie beside the project and are not part of it; without them these tests say so and
//! pass.

use std::fs::File;
use std::io::{Write, stderr};
use std::path::Path;

use sluice_cli::what_if::optimum;
use sluice_cli::what_if::policies::sluice::Parameters;
use sluice_cli::what_if::reading::parse_trace;
use sluice_cli::what_if::result::Outcome;
use sluice_cli::what_if::run::{Job, POLICIES};
use sluice_cli::what_if::trace::Trace;
use sluice_cli::what_if::world::Settings;
use sluice_simulated::{Backlog, StreamLimits};

const PEAK_BYTES_PER_SECOND: f64 = 64e6;
/// Policies that stand in nobody's way: Sluice's own, and the limit.
const NOT_PEERS: [&str; 4] = ["sluice", "sluice-queue", "sluice-off-peak", optimum::NAME];

fn read(name: &str) -> Option<Trace> {
    let shelf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces");
    let path = shelf.join(format!("{name}.csv"));
    if !path.exists() {
        writeln!(stderr(), "skipped: the team's shelf of traces (../shared/traces) is not here")
            .ok();
        return None;
    }
    let file = File::open(path).expect("a readable trace");
    let trace = parse_trace(name, file).expect("a trace");
    Some(trace.scaled_to_peak(PEAK_BYTES_PER_SECOND).expect("a peak"))
}

fn play(trace: &Trace, seed: u64, names: &[&str]) -> Vec<Outcome> {
    let settings = Settings {
        seed,
        payload_bytes: 100_000.0,
        record_bytes: 24_900.0,
        event_bytes: 300.0,
        readers: 1.0,
        shards_max: 128,
        backlog: Backlog::default(),
        limits: StreamLimits::default(),
    };
    let parameters = Parameters::of_template(settings.shards_max);
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let job = Job { trace, settings: &settings, parameters: &parameters };
    job.play_all(&names, |_, _| {}).expect("policies")
}

fn lost(outcome: &Outcome) -> f64 {
    outcome.lost_megabytes + outcome.undelivered_megabytes
}

fn keeps_its_promise(name: &str) {
    let Some(trace) = read(name) else { return };
    for seed in [1, 2] {
        let outcomes = play(&trace, seed, &["sluice", optimum::NAME, "on-demand"]);
        let [sluice, optimum, on_demand] = &outcomes[..] else { panic!("three outcomes") };
        let cost = sluice.bill.total();
        assert!(sluice.lag_p99 <= 30, "seed {seed}: lag p99 {} s", sluice.lag_p99);
        assert_eq!(lost(sluice), 0.0, "seed {seed}");
        let of_optimum = cost / optimum.bill.total();
        assert!(of_optimum <= 1.5, "seed {seed}: {of_optimum:.3} of the optimum");
        let of_on_demand = cost / on_demand.bill.total();
        assert!(of_on_demand <= 0.2, "seed {seed}: {of_on_demand:.3} of on-demand");
        assert!(sluice.reshards_most_in_a_day <= 10);
    }
}

fn no_peer_is_better(name: &str) {
    let Some(trace) = read(name) else { return };
    let outcomes = play(&trace, 1, &POLICIES);
    let sluice = &outcomes[0];
    assert_eq!((sluice.name.as_str(), lost(sluice)), ("sluice", 0.0));
    for peer in outcomes.iter().filter(|peer| !NOT_PEERS.contains(&peer.name.as_str())) {
        let is_better = peer.bill.total() < sluice.bill.total() && peer.lag_p99 < sluice.lag_p99;
        assert!(
            !is_better,
            "{}: ${:.2} a day and {} s, against ${:.2} and {} s",
            peer.name,
            peer.dollars_a_day(),
            peer.lag_p99,
            sluice.dollars_a_day(),
            sluice.lag_p99
        );
    }
}

#[test]
fn live_matches_twice_a_day_are_cheap_and_in_time() {
    keeps_its_promise("wc98_group_stage");
}

#[test]
fn a_growing_audience_is_cheap_and_in_time() {
    keeps_its_promise("wc98_pretournament");
}

#[test]
fn no_peer_is_cheaper_and_less_late_on_flash_crowds() {
    no_peer_is_better("wc98_may_flash");
}

#[test]
fn no_peer_is_cheaper_and_less_late_on_steps() {
    no_peer_is_better("ec2_netin_onoff");
}

#[test]
fn no_peer_is_cheaper_and_less_late_on_noise() {
    no_peer_is_better("azure_vm_arrivals");
}

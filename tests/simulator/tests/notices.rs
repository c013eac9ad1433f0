//! What is broken is noticed, and the same seed gives the same bytes.

use simulator::scenario::load;
use simulator::{Mutation, Options, run};

fn failures(scenario: &str, mutation: Mutation) -> Vec<String> {
    let scenario = load(scenario).expect("a scenario");
    run(&scenario, &Options { seed: 1, mutation, ..Options::default() }).failures
}

/// `scenario` passes, and does not with `mutation`, which it names with `word`.
fn notices(scenario: &str, mutation: Mutation, word: &str) {
    assert_eq!(failures(scenario, Mutation::None), [] as [&str; 0]);
    let failures = failures(scenario, mutation);
    assert!(failures.iter().any(|failure| failure.contains(word)), "{mutation:?}: {failures:?}");
}

#[test]
fn rounding_down_an_odd_number_of_shards() {
    notices("odd-counts", Mutation::HalvesDownwards, "is not legal");
}

#[test]
fn a_ledger_that_is_ignored() {
    notices("ten-calls-gone", Mutation::IgnoresLedger, "calls refused");
}

#[test]
fn thresholds_and_concurrency_before_the_shards_are_open() {
    notices("disneys-day", Mutation::RaisesTooEarly, "shards take the load");
}

#[test]
fn thresholds_and_concurrency_after_the_shards_have_closed() {
    notices("disneys-day", Mutation::LowersTooLate, "shards will be left");
}

#[test]
fn a_missing_reconcile_schedule() {
    notices("alarm-lost", Mutation::NoReconcile, "shards");
}

#[test]
fn a_scale_down_that_does_not_look_at_the_load() {
    notices("traffic-never-falls", Mutation::IgnoresLoad, "shards");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let scenario = load("mixed-faults").expect("a scenario");
    let text = |seed| run(&scenario, &Options { seed, ..Options::default() }).text;
    let first = text(7);
    assert!(first.lines().count() > 100);
    assert_eq!(first, text(7));
    assert_ne!(first, text(8));
}

//! Each target for a few seconds: inputs mutated from its seeds, the same ones for the same seed.

use std::panic::catch_unwind;
use std::path::Path;

use fastrand::Rng;
use sluice_fuzz::mutate::mutate;
use sluice_fuzz::{TARGETS, Target};

/// Inputs of one target.
const EXECUTIONS: u32 = 5_000;

#[test]
fn event() {
    run("event");
}

#[test]
fn data() {
    run("data");
}

#[test]
fn payload() {
    run("payload");
}

#[test]
fn text() {
    run("text");
}

#[test]
fn records() {
    run("records");
}

#[test]
fn dead_letter() {
    run("dead-letter");
}

/// `INPUT=<file>` checks that file and nothing else; `PROPTEST_RNG_SEED`, which `make test` sets and
/// prints, decides the inputs.
fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    if let Some(input) = std::env::var_os("INPUT") {
        (target.check)(&std::fs::read(input).expect("INPUT can be read"));
        return;
    }
    let seed = std::env::var("PROPTEST_RNG_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    eprintln!("{name}: PROPTEST_RNG_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let seeds = (target.seeds)();
    for input in &seeds {
        check(target, input);
    }
    for _ in 0..EXECUTIONS {
        check(target, &mutate(&mut rng, &seeds, target.words));
    }
}

fn check(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(|| (target.check)(input)) {
        let name = target.name;
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = dir.join(format!("fuzz-{name}-{}", std::process::id()));
        std::fs::write(&path, input).expect("the target directory can be written");
        eprintln!(
            "to repeat: INPUT={} cargo test --locked -p sluice-fuzz --test short {}",
            path.display(),
            name.replace('-', "_"),
        );
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    for target in &TARGETS {
        let seeds = (target.seeds)();
        let inputs = || {
            let mut rng = Rng::with_seed(7);
            (0..100).map(|_| mutate(&mut rng, &seeds, target.words)).collect::<Vec<_>>()
        };
        assert!(inputs() == inputs(), "{}", target.name);
    }
}

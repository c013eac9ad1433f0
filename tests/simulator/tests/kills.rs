//! A scaling function dies at any call of the control plane, and nothing comes of it.

use simulator::run::command;
use simulator::scenario::load;
use simulator::{Kill, Options, run};

/// Kills at every `STRIDE`-th call from `first` on; all tests together at every call.
fn killed(first: u64, after: bool, retries: bool) {
    let mut scenario = load("killed-anywhere").expect("a scenario");
    scenario.world.retries = retries;
    let undisturbed = run(&scenario, &Options::default());
    let mut failures = Vec::new();
    for call in (first..undisturbed.control_calls).step_by(STRIDE) {
        let options = Options { kill: Some(Kill { call, after }), ..Options::default() };
        let outcome = run(&scenario, &options);
        assert!(outcome.text.contains("failed: killed"), "call {call} was never made");
        if !outcome.failures.is_empty() {
            let what = outcome.failures.join("\n");
            failures.push(format!("{what}\nto repeat: {}", command("killed-anywhere", &options)));
        }
    }
    assert!(failures.is_empty(), "retried: {retries}\n{}", failures.join("\n"));
}

const STRIDE: usize = 2;

macro_rules! kills {
    ($($test:ident = $first:literal, $after:literal, $retries:literal;)*) => {
        $(
            #[test]
            fn $test() {
                killed($first, $after, $retries);
            }
        )*
    };
}

kills! {
    even_calls_before_and_not_retried = 0, false, false;
    odd_calls_before_and_not_retried = 1, false, false;
    even_calls_after_and_not_retried = 0, true, false;
    odd_calls_after_and_not_retried = 1, true, false;
    even_calls_before_and_retried = 0, false, true;
    odd_calls_before_and_retried = 1, false, true;
    even_calls_after_and_retried = 0, true, true;
    odd_calls_after_and_retried = 1, true, true;
}

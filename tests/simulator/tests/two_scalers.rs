//! Several scalers at once, where no reserved concurrency keeps them apart: a lease does.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use simulator::run::{PROCESSOR, STREAM, config, create_alarms};
use simulator::scenario::load;
use sluice::ports::{Clock, EmitMetrics, ScaleStream};
use sluice::scaling::Lease;
use sluice::scaling::lease::TAG_LEASE;
use sluice::scaling::state::State;
use sluice_autoscaler::ScalingConfig;
use sluice_autoscaler::ScalingError;
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::cloud::{Happening, ProcessorSpec};
use sluice_simulated::{Account, Cloud, Control, ControlFault, Stream, VirtualClock};
use tokio::task::LocalSet;

const SEEDS: u64 = 1_000;

struct Silent;

impl EmitMetrics for Silent {
    fn emit(&self, _: &str) {}
}

/// An account that reserves nothing, with a stream of eight shards.
fn account(seed: u64) -> (Rc<Cloud>, ScalingConfig) {
    let clock = VirtualClock::begin();
    let mut account = Account::new(10);
    account.create_function(PROCESSOR, None);
    let spec = ProcessorSpec { function: PROCESSOR.to_owned(), event_bytes: 1.0 };
    let cloud =
        Rc::new(Cloud::new(clock, STREAM, Stream::new(clock, 8), account, spec, false, seed));
    let scenario = load("quiet-day").expect("a scenario");
    let policy = scenario.policy.policy();
    create_alarms(&cloud, &scenario, &policy, 8);
    let config = ScalingConfig { reserve_concurrency: false, ..config(&scenario, &policy) };
    (cloud, config)
}

/// One wake-up, as Lambda brings it: again after a minute and two when it fails.
async fn wake(cloud: &Rc<Cloud>, config: &ScalingConfig, event: &str, start_ms: u64) {
    cloud.clock().sleep(Duration::from_millis(start_ms)).await;
    for pause_minutes in [1, 2, 0] {
        let control = Control::new(Rc::clone(cloud), "scaler");
        let (config, clock) = (config.clone(), cloud.clock());
        let ended = if event.contains("off-peak") {
            scale_down::ScaleDown::new(config, control, clock, Silent, Rng::new())
                .handle(event)
                .await
        } else {
            scale_up::ScaleUp::new(config, control, clock, Silent, Rng::new()).handle(event).await
        };
        match ended {
            Ok(()) => return,
            Err(error) => assert!(matches!(error, ScalingError::LeaseHeld { .. }), "{error}"),
        }
        cloud.clock().sleep(Duration::from_secs(pause_minutes * 60)).await;
    }
    panic!("the order was lost");
}

fn simulate<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, work)
}

/// Accepted and refused UpdateShardCount calls so far.
fn calls(cloud: &Cloud) -> (u32, u32) {
    let (mut accepted, mut refused) = (0, 0);
    for entry in cloud.take_journal() {
        if let Happening::Call { name: "UpdateShardCount", result, .. } = entry.what {
            *if result.is_ok() { &mut accepted } else { &mut refused } += 1;
        }
    }
    (accepted, refused)
}

fn noted(cloud: &Cloud) -> u32 {
    let state = State::from_tags(&cloud.stream.tags());
    state.reshards.used(cloud.clock().epoch_ms())
}

#[test]
fn whoever_wakes_at_once_one_acts_and_the_ledger_has_every_call() {
    let mut at_once = 0;
    for seed in 0..SEEDS {
        fastrand::seed(seed);
        simulate(async {
            let (cloud, config) = account(seed);
            let mut rng = Rng::with_seed(seed);
            // Each call takes up to a quarter of a second more.
            let mut delays = rng.clone();
            cloud.set_faults(move |_| ControlFault::Delay(delays.u64(0..250)));
            let events = [
                r#"{"shardCount":16}"#,
                r#"{"wake":"reconcile"}"#,
                r#"{"wake":"off-peak"}"#,
                r#"{"wake":"floor","shardCount":12,"forMinutes":60}"#,
            ];
            let mut start = || rng.u64(0..3_000);
            tokio::join!(
                wake(&cloud, &config, events[0], start()),
                wake(&cloud, &config, events[1], start()),
                wake(&cloud, &config, events[2], start()),
                wake(&cloud, &config, events[3], start()),
            );
            let (accepted, refused) = calls(&cloud);
            assert_eq!(refused, 0, "seed {seed}: decided on what was past");
            assert_eq!(noted(&cloud), accepted, "seed {seed}: {accepted} calls were accepted");
            let state = State::from_tags(&cloud.stream.tags());
            assert_eq!(state.floor.map(|floor| floor.shards), Some(12), "seed {seed}");
            assert_eq!(Lease::from_tags(&cloud.stream.tags()), None, "seed {seed}: given back");
            at_once += u32::from(accepted > 0);
        });
    }
    assert_eq!(u64::from(at_once), SEEDS, "something to act on in every run");
}

#[test]
fn a_lease_of_somebody_else_ends_a_wake_up_and_fails_an_order() {
    simulate(async {
        let (cloud, config) = account(1);
        let control = Control::new(Rc::clone(&cloud), "other");
        let other = Lease::draw(BEGIN_EPOCH_MS, config.timeout_seconds, &mut Rng::new());
        control.add_tags(&other.to_tags()).await.expect("tags");
        let up = scale_up::ScaleUp::new(
            config.clone(),
            control.clone(),
            cloud.clock(),
            Silent,
            Rng::new(),
        );
        let down =
            scale_down::ScaleDown::new(config, control.clone(), cloud.clock(), Silent, Rng::new());
        down.handle(r#"{"wake":"off-peak"}"#).await.expect("comes again by itself");
        for order in [r#"{"shardCount":16}"#, r#"{"wake":"floor","shardCount":16,"forMinutes":60}"#]
        {
            let error = up.handle(order).await.expect_err("must come again");
            assert!(matches!(error, ScalingError::LeaseHeld { seconds: 1..=75 }), "{error}");
        }
        assert_eq!(calls(&cloud), (0, 0));
        assert_eq!(Lease::from_tags(&control.list_tags().await.expect("tags")), Some(other));
        // Its holder was killed: it ends by itself.
        cloud.clock().sleep(Duration::from_secs(76)).await;
        up.handle(r#"{"shardCount":16}"#).await.expect("acts");
        assert_eq!(calls(&cloud), (1, 0));
    });
}

#[test]
fn at_rest_no_tag_is_written_and_no_concurrency_touched() {
    simulate(async {
        let (cloud, config) = account(1);
        let before = cloud.stream.tags();
        for _ in 0..3 {
            wake(&cloud, &config, r#"{"wake":"reconcile"}"#, 60_000).await;
        }
        let names: Vec<&str> = cloud.calls().iter().map(|call| call.name).collect();
        assert!(names.contains(&"ListTagsForStream"));
        for name in ["AddTagsToStream", "GetFunctionConcurrency", "PutFunctionConcurrency"] {
            assert!(!names.contains(&name), "{names:?}");
        }
        assert_eq!(cloud.stream.tags(), before);
        wake(&cloud, &config, r#"{"shardCount":16}"#, 0).await;
        wake(&cloud, &config, r#"{"wake":"reconcile"}"#, 600_000).await;
        assert_eq!(cloud.stream.open_shards(), 16);
        let names: Vec<&str> = cloud.calls().iter().map(|call| call.name).collect();
        assert!(!names.contains(&"PutFunctionConcurrency"), "{names:?}");
    });
}

#[test]
fn a_refused_call_takes_back_its_own_entry_and_no_other() {
    simulate(async {
        let (cloud, config) = account(1);
        let config = ScalingConfig { reserve_concurrency: true, ..config };
        // Somebody else notes a call, and makes it, between this one's decision and its call.
        let other_ms = BEGIN_EPOCH_MS - 5_000;
        let notes = Rc::clone(&cloud);
        cloud.set_faults(move |call| {
            if call.name != "UpdateShardCount" {
                return ControlFault::None;
            }
            let mut state = State::from_tags(&notes.stream.tags());
            state.reshards = state.reshards.with_call(other_ms);
            notes.stream.add_tags(&state.to_tags()).expect("tags");
            ControlFault::Error("ResourceInUseException".to_owned())
        });
        let control = Control::new(Rc::clone(&cloud), "scaler");
        let up = scale_up::ScaleUp::new(config, control, cloud.clock(), Silent, Rng::new());
        up.handle(r#"{"shardCount":16}"#).await.expect("no error");
        let state = State::from_tags(&cloud.stream.tags());
        assert_eq!(state.reshards.to_tag(), (other_ms / 1_000).to_string());
        assert_eq!(state.goal, Some(16), "the order is kept");
    });
}

#[test]
fn a_call_that_another_scaler_noted_since_is_kept() {
    simulate(async {
        let (cloud, config) = account(1);
        let config = ScalingConfig { reserve_concurrency: true, ..config };
        let other_ms = BEGIN_EPOCH_MS - 5_000;
        let notes = Rc::clone(&cloud);
        // Between the look and the first act.
        cloud.set_faults(move |call| {
            if call.name == "ListShards" {
                let tags = BTreeMap::from([(
                    "sluice/reshards".to_owned(),
                    (other_ms / 1_000).to_string(),
                )]);
                notes.stream.add_tags(&tags).expect("tags");
            }
            ControlFault::None
        });
        let control = Control::new(Rc::clone(&cloud), "scaler");
        let up = scale_up::ScaleUp::new(config, control, cloud.clock(), Silent, Rng::new());
        up.handle(r#"{"shardCount":16}"#).await.expect("acts");
        assert_eq!(noted(&cloud), 2);
        assert!(!cloud.stream.tags().contains_key(TAG_LEASE), "no lease where one is reserved");
    });
}

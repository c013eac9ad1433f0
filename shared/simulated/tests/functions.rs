//! Lambda's queue, its dead letters, its API, and environments that die.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use sluice::ports::{Clock, InvokeError, InvokeFunction, ReadConcurrency, ReceiveMessages};
use sluice_simulated::cloud::ProcessorSpec;
use sluice_simulated::functions::Failure;
use sluice_simulated::lambda::InvokeFault;
use sluice_simulated::mortal::MortalCall;
use sluice_simulated::queue::{Mood, QueueFault, SharedQueue};
use sluice_simulated::{
    Account, AsyncFunction, Asynchronous, Cloud, Fate, Fates, Lambda, Life, Mortal, Queue, Stream,
    VirtualClock,
};
use tokio::task::LocalSet;

const SECOND: Duration = Duration::from_secs(1);

/// Runs a test in virtual time.
fn play<F: Future<Output = ()>>(test: impl FnOnce(Rc<Cloud>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let clock = VirtualClock::begin();
        let mut account = Account::new(1_000);
        account.create_function("function", Some(1));
        let spec = ProcessorSpec { function: "function".to_owned(), event_bytes: 1.0 };
        let stream = Stream::new(clock, 1);
        test(Rc::new(Cloud::new(clock, "stream", stream, account, spec, false, 1))).await;
    });
}

/// A function that takes a second and fails on "bad"; `ran` counts its invocations.
fn start(cloud: &Rc<Cloud>, asynchronous: Asynchronous, ran: &Rc<Cell<u32>>) -> Rc<AsyncFunction> {
    let (clock, ran) = (cloud.clock(), Rc::clone(ran));
    let handler = move |event: String| {
        ran.set(ran.get() + 1);
        async move {
            clock.sleep(SECOND).await;
            match event.as_str() {
                "bad" => Err(Failure { error_type: "Bad".to_owned(), message: event }),
                _ => Ok(format!("{event} back")),
            }
        }
        .boxed_local()
    };
    AsyncFunction::start(Rc::clone(cloud), "function", asynchronous, Rc::new(handler))
}

fn with_queue(queue: &Rc<Queue>) -> Asynchronous {
    Asynchronous { dead_letter_queue: Some(Rc::clone(queue)), ..Asynchronous::default() }
}

#[test]
fn an_event_that_fails_three_times_is_in_the_queue_as_it_came_and_says_why() {
    play(|cloud| async move {
        let (queue, ran) = (Rc::new(Queue::new(cloud.clock())), Rc::default());
        let function = start(&cloud, with_queue(&queue), &ran);
        function.invoke("bad".to_owned(), 0);
        cloud.clock().sleep(600 * SECOND).await;
        let [message] = &queue.stored()[..] else { panic!("{:?}", queue.stored()) };
        assert_eq!(message.body, "bad");
        let attributes: Vec<_> =
            message.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = [("ErrorCode", "200"), ("ErrorMessage", "bad"), ("RequestID", "request-1")];
        assert_eq!(attributes, expected);
        assert_eq!((ran.get(), function.in_flight()), (3, 0));
    });
}

#[test]
fn an_event_that_nobody_takes_for_six_hours_is_in_the_queue() {
    play(|cloud| async move {
        let (queue, ran) = (Rc::new(Queue::new(cloud.clock())), Rc::default());
        let function = start(&cloud, with_queue(&queue), &ran);
        function.invoke("first".to_owned(), 0);
        function.invoke("good".to_owned(), 0);
        cloud.clock().sleep(SECOND / 10).await;
        // It waits already, so that it is not new.
        cloud.account.borrow_mut().put_reserved("function", 0).expect("room");
        cloud.clock().sleep(5 * 3_600 * SECOND).await;
        assert_eq!((queue.stored().len(), function.in_flight()), (0, 1));
        cloud.clock().sleep(2 * 3_600 * SECOND).await;
        assert_eq!((queue.stored().len(), function.in_flight(), ran.get()), (1, 0, 1));
    });
}

#[test]
fn a_queue_that_is_down_is_tried_again_and_then_the_event_is_deleted() {
    for (down_seconds, dropped) in [(120, 0), (3_600, 1)] {
        play(|cloud| async move {
            let queue = Rc::new(Queue::new(cloud.clock()));
            queue.set_mood(Mood::Refuses);
            let asynchronous = Asynchronous { retries_max: 0, ..with_queue(&queue) };
            let function = start(&cloud, asynchronous, &Rc::default());
            function.invoke("bad".to_owned(), 0);
            cloud.clock().sleep(down_seconds * SECOND).await;
            queue.set_mood(Mood::Takes);
            cloud.clock().sleep(600 * SECOND).await;
            assert_eq!((queue.stored().len(), function.dropped().len()), (1 - dropped, dropped));
        });
    }
}

#[test]
fn both_kinds_of_invocation_share_the_reserved_concurrency() {
    play(|cloud| async move {
        let ran = Rc::default();
        let function = start(&cloud, Asynchronous::default(), &ran);
        let lambda = Lambda::new(Rc::clone(&cloud));
        lambda.add("function", function);
        let minute = 60 * SECOND;
        let answer = lambda.invoke("function", "good", minute).await;
        assert_eq!(answer.as_deref(), Ok("good back"));
        let failed = lambda.invoke("function", "bad", minute).await;
        let failure = InvokeError::Failed { error_type: "Bad".into(), message: "bad".into() };
        assert_eq!(failed, Err(failure));

        lambda.invoke_later("function", "good").await.expect("queued");
        cloud.clock().sleep(SECOND / 10).await;
        let busy = lambda.invoke("function", "good", minute).await;
        assert!(matches!(busy, Err(InvokeError::Throttled { .. })), "{busy:?}");
        assert_eq!(ran.get(), 3);

        // Who gives up waiting does not stop the function.
        cloud.clock().sleep(SECOND).await;
        let late = lambda.invoke("function", "good", SECOND / 2).await;
        assert!(matches!(late, Err(InvokeError::Unknown { .. })), "{late:?}");
        assert_eq!(ran.get(), 4);

        let nobody = lambda.invoke("nobody", "good", minute).await;
        assert!(matches!(nobody, Err(InvokeError::Unavailable { .. })), "{nobody:?}");
        assert_eq!(lambda.get_reserved_concurrency("function").await, Ok(Some(1)));
        assert!(lambda.get_reserved_concurrency("nobody").await.is_err());
        lambda.clear();
    });
}

#[test]
fn a_fault_of_the_api_says_whether_the_function_ran() {
    for (fault, runs) in [
        (InvokeFault::Throttled, 0),
        (InvokeFault::Error, 0),
        (InvokeFault::Hang, 0),
        (InvokeFault::AnswerLost, 1),
    ] {
        play(|cloud| async move {
            let ran = Rc::default();
            let lambda = Lambda::new(Rc::clone(&cloud));
            lambda.add("function", start(&cloud, Asynchronous::default(), &ran));
            lambda.set_faults(move |_| fault);
            let answer = lambda.invoke("function", "good", 60 * SECOND).await;
            assert_eq!(ran.get(), runs, "{fault:?}: {answer:?}");
            match fault {
                InvokeFault::Throttled => {
                    assert!(matches!(answer, Err(InvokeError::Throttled { .. })), "{answer:?}");
                }
                _ => assert!(matches!(answer, Err(InvokeError::Unknown { .. })), "{answer:?}"),
            }
            lambda.clear();
        });
    }
}

#[test]
fn who_dies_in_a_call_hears_nothing_and_calls_no_more() {
    for (fate, received) in [(Fate::DiesBefore, 0), (Fate::DiesAfter, 1)] {
        play(|cloud| async move {
            let queue = Rc::new(Queue::new(cloud.clock()));
            queue.put("body", Default::default(), 0);
            let fates = Fates::kind();
            fates.set_plan(
                move |call: MortalCall| if call.number == 1 { fate } else { Fate::Lives },
            );
            let life = Rc::new(Life::new(Rc::clone(&fates)));
            let port = Mortal::new(SharedQueue(Rc::clone(&queue)), &life);
            let receive = || port.receive_messages(10, SECOND, Duration::ZERO);
            let _ = receive().await;
            cloud.clock().sleep(SECOND).await;
            tokio::select! {
                biased;
                () = life.ended() => {}
                _ = async { receive().await } => panic!("it heard"),
            }
            let receive_count = queue.stored()[0].receive_count;
            assert_eq!(receive_count, 1 + received, "{fate:?}");
            assert!(tokio::time::timeout(SECOND, receive()).await.is_err(), "the dead call");
            assert_eq!(fates.calls(), ["ReceiveMessage"; 2]);
        });
    }
}

#[test]
fn a_message_that_is_delivered_twice_is_one_message() {
    play(|cloud| async move {
        let queue = Queue::new(cloud.clock());
        queue.set_faults(|_| QueueFault::DeliverTwice);
        queue.put("body", Default::default(), 0);
        for expected in [1, 2] {
            let received = (&queue).receive_messages(10, SECOND, Duration::ZERO).await;
            let received = received.expect("messages");
            assert_eq!(received[0].receive_count, expected);
        }
        assert_eq!((queue.stored().len(), queue.ever().len()), (1, 1));
    });
}

#[test]
fn a_reserved_concurrency_of_zero_sends_new_events_to_the_dead_letter_queue_at_once() {
    play(|cloud| async move {
        let (queue, ran) = (Rc::new(Queue::new(cloud.clock())), Rc::default());
        let function = start(&cloud, with_queue(&queue), &ran);
        // The second waits for the first.
        function.invoke("running".to_owned(), 0);
        function.invoke("waiting".to_owned(), 0);
        cloud.clock().sleep(SECOND / 10).await;
        cloud.account.borrow_mut().put_reserved("function", 0).expect("room");
        function.invoke("new".to_owned(), 0);
        cloud.clock().sleep(10 * SECOND).await;
        let buried: Vec<String> = queue.ever().into_iter().map(|letter| letter.body).collect();
        assert_eq!((buried, ran.get()), (vec!["new".to_owned()], 1));
        assert!(function.invoke_now("by the replayer".to_owned()).is_none(), "nothing runs");

        cloud.account.borrow_mut().put_reserved("function", 1).expect("room");
        cloud.clock().sleep(20 * SECOND).await;
        assert_eq!((queue.ever().len(), ran.get()), (1, 2), "what waited is handed over");
    });
}

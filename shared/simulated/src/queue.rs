//! An SQS standard queue: visibility, delays, receive counts, retention, redrive, and faults by plan.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sluice::delivery::DeadLetter;
use sluice::limits::SQS_MESSAGE_BYTES_MAX;
use sluice::ports::{
    Clock, Message, NewMessage, QueueCounts, QueueError, ReceiveMessages, SendMessage,
};
use tokio::sync::Notify;

use crate::VirtualClock;

/// A call takes this long; it takes effect half-way.
const CALL_TIME: Duration = Duration::from_millis(10);
/// Messages of one ReceiveMessage call. (SQS API; Nov 2026)
const RECEIVED_MAX: usize = 10;
/// The longest visibility timeout, 12 hours. (SQS API; Nov 2026)
const VISIBILITY_SECONDS_MAX: u64 = 43_200;
/// The longest wait of a receiver. (SQS API; Nov 2026)
const WAIT_SECONDS_MAX: u64 = 20;
/// The longest delay of a message. (SQS API; Nov 2026)
const DELAY_SECONDS_MAX: u32 = 900;
/// A message is gone after 14 days, as the templates say.
const RETENTION_MS: u64 = 14 * 86_400_000;

/// How the queue answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes messages.
    Takes,
    /// It refuses every call.
    Refuses,
    /// It never answers.
    Hangs,
    /// There is no such queue.
    Gone,
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFault {
    /// Nothing.
    None,
    /// The call fails and changes nothing.
    Error,
    /// The call takes effect, and its answer is lost.
    AnswerLost,
    /// No answer ever comes, and nothing changes.
    Hang,
    /// The call takes effect, and no answer ever comes.
    EffectAndHang,
    /// The messages that are received are not hidden, so that others receive them, too.
    DeliverTwice,
}

/// What a fault plan may look at.
#[derive(Debug, Clone, Copy)]
pub struct QueueCall {
    /// 0 for the first call.
    pub number: u64,
    /// `SendMessage`, `ReceiveMessage`, `DeleteMessage`, `ChangeMessageVisibility` or
    /// `GetQueueAttributes`.
    pub name: &'static str,
    /// When it was made.
    pub epoch_ms: u64,
}

type FaultPlan = Box<dyn FnMut(QueueCall) -> QueueFault>;

#[derive(Debug, Clone)]
struct Stored {
    message: Message,
    visible_ms: u64,
    /// Whether it was received since it was sent; the rest of the hidden ones are delayed.
    is_received: bool,
}

struct State {
    messages: Vec<Stored>,
    faults: FaultPlan,
    calls: u64,
    ids: u64,
    receipts: u64,
    expired: Vec<Message>,
    ever: Vec<Message>,
}

/// A queue.
pub struct Queue {
    clock: VirtualClock,
    mood: Cell<Mood>,
    state: RefCell<State>,
    redrive: RefCell<Option<(Rc<Queue>, u32)>>,
    changed: Notify,
}

impl Queue {
    /// An empty queue that takes messages.
    #[must_use]
    pub fn new(clock: VirtualClock) -> Self {
        Self {
            clock,
            mood: Cell::new(Mood::Takes),
            state: RefCell::new(State {
                messages: Vec::new(),
                faults: Box::new(|_| QueueFault::None),
                calls: 0,
                ids: 0,
                receipts: 0,
                expired: Vec::new(),
                ever: Vec::new(),
            }),
            redrive: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// From now on it answers like this.
    pub fn set_mood(&self, mood: Mood) {
        self.mood.set(mood);
    }

    /// From now on calls fail by this plan.
    pub fn set_faults(&self, faults: impl FnMut(QueueCall) -> QueueFault + 'static) {
        self.state.borrow_mut().faults = Box::new(faults);
    }

    /// `RedrivePolicy`: what has been received so often goes to `target` instead of out again.
    pub fn set_redrive(&self, target: Rc<Queue>, receive_count_max: u32) {
        *self.redrive.borrow_mut() = Some((target, receive_count_max));
    }

    /// Every message, hidden ones included, oldest first.
    #[must_use]
    pub fn stored(&self) -> Vec<Message> {
        self.state.borrow().messages.iter().map(|stored| stored.message.clone()).collect()
    }

    /// Every message, as a dead letter.
    #[must_use]
    pub fn messages(&self) -> Vec<DeadLetter> {
        self.stored().iter().map(DeadLetter::received).collect()
    }

    /// Takes everything out.
    #[must_use]
    pub fn drain(&self) -> Vec<DeadLetter> {
        let messages = self.messages();
        self.state.borrow_mut().messages.clear();
        messages
    }

    /// What it held for so long that it is gone.
    #[must_use]
    pub fn expired(&self) -> Vec<Message> {
        self.state.borrow().expired.clone()
    }

    /// Every message that it ever took, as it came, in order of arrival.
    #[must_use]
    pub fn ever(&self) -> Vec<Message> {
        self.state.borrow().ever.clone()
    }

    /// SendMessage, as Lambda does it for the event of an invocation that failed for good.
    pub async fn send(
        &self,
        body: &str,
        attributes: BTreeMap<String, String>,
    ) -> Result<(), QueueError> {
        self.call("SendMessage", |_| {
            let type_bytes = attributes.len() * "String".len();
            if type_bytes + bytes_of(body, &attributes) > SQS_MESSAGE_BYTES_MAX {
                return refused("InvalidParameterValue");
            }
            self.put(body, attributes, 0);
            Ok(())
        })
        .await
    }

    /// Takes a message at once, from Lambda or a person; hidden for `delay_seconds`.
    pub fn put(&self, body: &str, attributes: BTreeMap<String, String>, delay_seconds: u32) {
        let mut state = self.state.borrow_mut();
        let sent_ms = self.clock.epoch_ms();
        state.ids += 1;
        let message = Message {
            id: format!("message-{}", state.ids),
            receipt_handle: String::new(),
            body: body.to_owned(),
            attributes,
            sent_ms,
            receive_count: 0,
        };
        let visible_ms = sent_ms + u64::from(delay_seconds) * 1_000;
        state.ever.push(message.clone());
        state.messages.push(Stored { message, visible_ms, is_received: false });
        drop(state);
        self.changed.notify_waiters();
    }

    /// One call that takes effect half-way.
    async fn call<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce(QueueFault) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let fault = {
            let state = &mut *self.state.borrow_mut();
            let call = QueueCall { number: state.calls, name, epoch_ms: self.clock.epoch_ms() };
            state.calls += 1;
            (state.faults)(call)
        };
        self.clock.sleep(CALL_TIME / 2).await;
        match (self.mood.get(), fault) {
            (Mood::Hangs, _) | (_, QueueFault::Hang) => return std::future::pending().await,
            (Mood::Gone, _) => return refused("QueueDoesNotExist"),
            (Mood::Refuses, _) | (_, QueueFault::Error) => return refused("ServiceUnavailable"),
            _ => {}
        }
        let result = effect(fault);
        self.clock.sleep(CALL_TIME / 2).await;
        match fault {
            QueueFault::AnswerLost => refused("Timeout"),
            QueueFault::EffectAndHang => std::future::pending().await,
            _ => result,
        }
    }

    /// Receives what is visible now; what was received too often goes to the redrive target.
    fn take(&self, messages_max: usize, visibility: Duration, is_hidden: bool) -> Vec<Message> {
        let now_ms = self.clock.epoch_ms();
        let mut received = Vec::new();
        let mut redriven = Vec::new();
        let redrive = self.redrive.borrow();
        let State { messages, receipts, expired, .. } = &mut *self.state.borrow_mut();
        messages.retain_mut(|stored| {
            let message = &mut stored.message;
            if now_ms.saturating_sub(message.sent_ms) > RETENTION_MS {
                expired.push(message.clone());
                return false;
            }
            if stored.visible_ms > now_ms || received.len() == messages_max {
                return true;
            }
            if redrive.as_ref().is_some_and(|(_, max)| message.receive_count >= *max) {
                redriven.push(message.clone());
                return false;
            }
            *receipts += 1;
            message.receive_count += 1;
            message.receipt_handle = format!("{}/{receipts}", message.id);
            stored.is_received = true;
            if is_hidden {
                stored.visible_ms = now_ms + visibility.as_millis() as u64;
            }
            received.push(message.clone());
            true
        });
        if let Some((target, _)) = redrive.as_ref() {
            for message in redriven {
                target.put(&message.body, message.attributes, 0);
            }
        }
        received
    }

    /// How long the message that is hidden longest stays so.
    #[must_use]
    pub fn hidden_for_ms(&self, now_ms: u64) -> u64 {
        let state = self.state.borrow();
        state
            .messages
            .iter()
            .map(|stored| stored.visible_ms.saturating_sub(now_ms))
            .max()
            .unwrap_or(0)
    }

    /// When the next hidden message shows.
    fn next_visible_ms(&self) -> Option<u64> {
        self.state.borrow().messages.iter().map(|stored| stored.visible_ms).min()
    }
}

/// What SQS counts as a message, without the types of its attributes.
fn bytes_of(body: &str, attributes: &BTreeMap<String, String>) -> usize {
    attributes.iter().fold(body.len(), |sum, (name, value)| sum + name.len() + value.len())
}

fn refused<T>(code: &str) -> Result<T, QueueError> {
    Err(QueueError { code: code.to_owned(), detail: "simulated".to_owned() })
}

impl SendMessage for &Queue {
    async fn send_message(&self, message: &NewMessage<'_>) -> Result<(), QueueError> {
        self.call("SendMessage", |_| {
            let NewMessage { body, attributes, delay_seconds } = message;
            let attributes =
                attributes.iter().map(|one| (one.name.to_owned(), one.value.clone())).collect();
            if message.bytes() > SQS_MESSAGE_BYTES_MAX || *delay_seconds > DELAY_SECONDS_MAX {
                return refused("InvalidParameterValue");
            }
            self.put(body, attributes, *delay_seconds);
            Ok(())
        })
        .await
    }
}

impl ReceiveMessages for &Queue {
    async fn receive_messages(
        &self,
        messages_max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        if !(1..=RECEIVED_MAX).contains(&messages_max)
            || visibility.as_secs() > VISIBILITY_SECONDS_MAX
            || wait.as_secs() > WAIT_SECONDS_MAX
        {
            return refused("InvalidParameterValue");
        }
        let until_ms = self.clock.epoch_ms() + wait.as_millis() as u64;
        loop {
            let changed = self.changed.notified();
            let now_ms = self.clock.epoch_ms();
            let next_ms = self.next_visible_ms().unwrap_or(u64::MAX);
            if next_ms <= now_ms || now_ms >= until_ms {
                break;
            }
            let pause = Duration::from_millis(next_ms.min(until_ms) - now_ms);
            tokio::select! {
                biased;
                () = changed => {}
                () = self.clock.sleep(pause) => {}
            }
        }
        self.call("ReceiveMessage", |fault| {
            Ok(self.take(messages_max, visibility, fault != QueueFault::DeliverTwice))
        })
        .await
    }

    async fn delete_message(&self, receipt_handle: &str) -> Result<(), QueueError> {
        self.call("DeleteMessage", |_| {
            let id = receipt_handle.split('/').next();
            // Any receipt deletes the message, an old one, too.
            self.state.borrow_mut().messages.retain(|stored| Some(&*stored.message.id) != id);
            Ok(())
        })
        .await
    }

    async fn change_visibility(
        &self,
        receipt_handle: &str,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        self.call("ChangeMessageVisibility", |_| {
            let now_ms = self.clock.epoch_ms();
            let mut state = self.state.borrow_mut();
            let found = state.messages.iter_mut().find(|stored| {
                stored.message.receipt_handle == receipt_handle && stored.visible_ms > now_ms
            });
            let Some(found) = found else { return refused("MessageNotInflight") };
            found.visible_ms = now_ms + visibility.as_millis() as u64;
            drop(state);
            self.changed.notify_waiters();
            Ok(())
        })
        .await
    }

    async fn count_messages(&self) -> Result<QueueCounts, QueueError> {
        self.call("GetQueueAttributes", |_| {
            let now_ms = self.clock.epoch_ms();
            let mut counts = QueueCounts::default();
            for stored in &self.state.borrow().messages {
                match (stored.visible_ms > now_ms, stored.is_received) {
                    (false, _) => counts.visible += 1,
                    (true, true) => counts.in_flight += 1,
                    (true, false) => counts.delayed += 1,
                }
            }
            Ok(counts)
        })
        .await
    }
}

/// A queue in the hands of a handler that outlives its caller and so owns its ports.
#[derive(Clone)]
pub struct SharedQueue(pub Rc<Queue>);

impl SendMessage for SharedQueue {
    async fn send_message(&self, message: &NewMessage<'_>) -> Result<(), QueueError> {
        let queue = &*self.0;
        queue.send_message(message).await
    }
}

impl ReceiveMessages for SharedQueue {
    async fn receive_messages(
        &self,
        messages_max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let queue = &*self.0;
        queue.receive_messages(messages_max, visibility, wait).await
    }

    async fn delete_message(&self, receipt_handle: &str) -> Result<(), QueueError> {
        let queue = &*self.0;
        queue.delete_message(receipt_handle).await
    }

    async fn change_visibility(
        &self,
        receipt_handle: &str,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        let queue = &*self.0;
        queue.change_visibility(receipt_handle, visibility).await
    }

    async fn count_messages(&self) -> Result<QueueCounts, QueueError> {
        let queue = &*self.0;
        queue.count_messages().await
    }
}

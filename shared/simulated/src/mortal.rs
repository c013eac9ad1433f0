//! Kill -9: an execution environment that dies inside any call that it makes, before the call takes
//! effect or after it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use sluice::ports::{
    ControlError, DataPoint, InvokeError, InvokeFunction, Message, MetricQuery, NewMessage,
    PutError, PutRecords, PutReplayed, QueueCounts, QueueError, ReadConcurrency, ReadError,
    ReadFrom, ReadMetrics, ReadStream, ReceiveMessages, RecordsPage, Refusal, SendMessage,
    ShardLineage, StreamHistory,
};
use sluice::records::Record;
use tokio::sync::Notify;

/// What becomes of the caller in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It hears the answer.
    Lives,
    /// It dies before the call takes effect.
    DiesBefore,
    /// The call takes effect, and the caller dies before it hears so.
    DiesAfter,
}

/// A call that somebody may die in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MortalCall {
    /// 0 for the first call.
    pub number: usize,
    /// The API call.
    pub name: &'static str,
}

type FatePlan = Box<dyn FnMut(MortalCall) -> Fate>;

/// The calls of one function, over all its execution environments, and in which of them one dies.
pub struct Fates {
    plan: RefCell<FatePlan>,
    calls: RefCell<Vec<&'static str>>,
}

impl Fates {
    /// Everybody lives.
    #[must_use]
    pub fn kind() -> Rc<Self> {
        Rc::new(Self { plan: RefCell::new(Box::new(|_| Fate::Lives)), calls: RefCell::default() })
    }

    /// From now on they die by this plan.
    pub fn set_plan(&self, plan: impl FnMut(MortalCall) -> Fate + 'static) {
        *self.plan.borrow_mut() = Box::new(plan);
    }

    /// The name of every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.borrow().clone()
    }

    fn of_next(&self, name: &'static str) -> Fate {
        let mut calls = self.calls.borrow_mut();
        let call = MortalCall { number: calls.len(), name };
        calls.push(name);
        (self.plan.borrow_mut())(call)
    }
}

impl fmt::Debug for Fates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fates").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// The life of an execution environment. Whoever runs it drops it once it has [`Life::ended`].
#[derive(Debug)]
pub struct Life {
    fates: Rc<Fates>,
    killed: Cell<bool>,
    notify: Notify,
}

impl Default for Life {
    fn default() -> Self {
        Self::new(Fates::kind())
    }
}

impl Life {
    /// A life that ends as `fates` have it.
    #[must_use]
    pub fn new(fates: Rc<Fates>) -> Self {
        Self { fates, killed: Cell::new(false), notify: Notify::new() }
    }

    /// Returns once the environment was killed.
    pub async fn ended(&self) {
        while !self.killed.get() {
            self.notify.notified().await;
        }
    }

    /// Kills the environment from inside.
    pub async fn die<T>(&self) -> T {
        self.killed.set(true);
        self.notify.notify_one();
        std::future::pending().await
    }

    /// One call that the environment makes.
    pub async fn call<T>(&self, name: &'static str, call: impl Future<Output = T>) -> T {
        // The dead make no calls, though the one who buries them may poll them once more.
        if self.killed.get() {
            return std::future::pending().await;
        }
        match self.fates.of_next(name) {
            Fate::Lives => call.await,
            Fate::DiesBefore => self.die().await,
            Fate::DiesAfter => {
                call.await;
                self.die().await
            }
        }
    }
}

/// A port in the hands of an execution environment that may die inside any call.
#[derive(Debug, Clone)]
pub struct Mortal<P> {
    port: P,
    life: Rc<Life>,
}

impl<P> Mortal<P> {
    /// `port`, used by the environment that has this life.
    #[must_use]
    pub fn new(port: P, life: &Rc<Life>) -> Self {
        Self { port, life: Rc::clone(life) }
    }
}

impl<P: PutRecords> PutRecords for Mortal<P> {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        self.life.call("PutRecords", self.port.put_records(records)).await
    }
}

impl<P: PutReplayed> PutReplayed for Mortal<P> {
    async fn put_replayed(
        &self,
        stream: &str,
        records: &[&Record],
    ) -> Result<Vec<Option<Refusal>>, PutError> {
        self.life.call("PutReplayed", self.port.put_replayed(stream, records)).await
    }
}

impl<P: ReadStream> ReadStream for Mortal<P> {
    async fn describe_history(&self) -> Result<StreamHistory, ReadError> {
        self.life.call("DescribeStreamSummary", self.port.describe_history()).await
    }

    async fn list_shards_since(&self, from_ms: u64) -> Result<Vec<ShardLineage>, ReadError> {
        self.life.call("ListShards", self.port.list_shards_since(from_ms)).await
    }

    async fn get_shard_iterator(
        &self,
        shard_id: &str,
        from: &ReadFrom,
    ) -> Result<String, ReadError> {
        self.life.call("GetShardIterator", self.port.get_shard_iterator(shard_id, from)).await
    }

    async fn get_records(
        &self,
        iterator: &str,
        records_max: usize,
    ) -> Result<RecordsPage, ReadError> {
        self.life.call("GetRecords", self.port.get_records(iterator, records_max)).await
    }
}

impl<P: ReadMetrics> ReadMetrics for Mortal<P> {
    async fn get_metrics(
        &self,
        queries: &[MetricQuery],
        from_ms: u64,
        to_ms: u64,
    ) -> Result<Vec<Vec<DataPoint>>, ControlError> {
        self.life.call("GetMetricData", self.port.get_metrics(queries, from_ms, to_ms)).await
    }
}

impl<P: SendMessage> SendMessage for Mortal<P> {
    async fn send_message(&self, message: &NewMessage<'_>) -> Result<(), QueueError> {
        let call = self.port.send_message(message);
        self.life.call("SendMessage", call).await
    }
}

impl<P: ReceiveMessages> ReceiveMessages for Mortal<P> {
    async fn receive_messages(
        &self,
        messages_max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let call = self.port.receive_messages(messages_max, visibility, wait);
        self.life.call("ReceiveMessage", call).await
    }

    async fn delete_message(&self, receipt_handle: &str) -> Result<(), QueueError> {
        self.life.call("DeleteMessage", self.port.delete_message(receipt_handle)).await
    }

    async fn change_visibility(
        &self,
        receipt_handle: &str,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        let call = self.port.change_visibility(receipt_handle, visibility);
        self.life.call("ChangeMessageVisibility", call).await
    }

    async fn count_messages(&self) -> Result<QueueCounts, QueueError> {
        self.life.call("GetQueueAttributes", self.port.count_messages()).await
    }
}

impl<P: InvokeFunction> InvokeFunction for Mortal<P> {
    async fn invoke(
        &self,
        function: &str,
        event: &str,
        timeout: Duration,
    ) -> Result<String, InvokeError> {
        self.life.call("Invoke", self.port.invoke(function, event, timeout)).await
    }

    async fn invoke_later(&self, function: &str, event: &str) -> Result<(), InvokeError> {
        self.life.call("InvokeLater", self.port.invoke_later(function, event)).await
    }
}

impl<P: ReadConcurrency> ReadConcurrency for Mortal<P> {
    async fn get_reserved_concurrency(&self, function: &str) -> Result<Option<u32>, ControlError> {
        let call = self.port.get_reserved_concurrency(function);
        self.life.call("GetFunctionConcurrency", call).await
    }
}

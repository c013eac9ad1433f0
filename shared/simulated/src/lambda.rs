//! Lambda's API: Invoke and GetFunctionConcurrency, as another function sees them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sluice::ports::{Clock, ControlError, InvokeError, InvokeFunction, ReadConcurrency};

use crate::cloud::Cloud;
use crate::functions::AsyncFunction;

/// A call takes this long, without the invocation; an event is handed over half-way.
const CALL_TIME: Duration = Duration::from_millis(10);
/// Bytes of a synchronous event. (Lambda quotas; Nov 2026)
const EVENT_BYTES_MAX: usize = 6 * 1_048_576;

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokeFault {
    /// Nothing.
    None,
    /// The account is at its limit, and nothing runs.
    Throttled,
    /// The service fails, and nothing runs.
    Error,
    /// The function runs, and its answer is lost.
    AnswerLost,
    /// No answer ever comes, and nothing runs.
    Hang,
}

/// What a fault plan may look at.
#[derive(Debug, Clone, Copy)]
pub struct LambdaCall {
    /// 0 for the first call.
    pub number: u64,
    /// `Invoke` (synchronous), `InvokeLater` (asynchronous) or `GetFunctionConcurrency`.
    pub name: &'static str,
    /// When it was made.
    pub epoch_ms: u64,
}

type FaultPlan = Box<dyn FnMut(LambdaCall) -> InvokeFault>;

/// The functions of an account by name. Clones are the same account.
#[derive(Clone)]
pub struct Lambda {
    cloud: Rc<Cloud>,
    functions: Rc<RefCell<BTreeMap<String, Rc<AsyncFunction>>>>,
    faults: Rc<RefCell<FaultPlan>>,
    calls: Rc<Cell<u64>>,
}

impl Lambda {
    /// An account without functions.
    #[must_use]
    pub fn new(cloud: Rc<Cloud>) -> Self {
        Self {
            cloud,
            functions: Rc::default(),
            faults: Rc::new(RefCell::new(Box::new(|_| InvokeFault::None))),
            calls: Rc::default(),
        }
    }

    /// From now on there is this function.
    pub fn add(&self, name: &str, function: Rc<AsyncFunction>) {
        self.functions.borrow_mut().insert(name.to_owned(), function);
    }

    /// Forgets every function: those that can invoke themselves hold themselves alive.
    pub fn clear(&self) {
        self.functions.borrow_mut().clear();
    }

    /// From now on calls fail by this plan.
    pub fn set_faults(&self, faults: impl FnMut(LambdaCall) -> InvokeFault + 'static) {
        *self.faults.borrow_mut() = Box::new(faults);
    }

    fn fault(&self, name: &'static str) -> InvokeFault {
        let number = self.calls.get();
        let call = LambdaCall { number, name, epoch_ms: self.cloud.clock().epoch_ms() };
        self.calls.set(number + 1);
        (self.faults.borrow_mut())(call)
    }

    fn function(&self, name: &str) -> Result<Rc<AsyncFunction>, InvokeError> {
        self.functions.borrow().get(name).cloned().ok_or_else(|| InvokeError::Unavailable {
            code: "ResourceNotFoundException".to_owned(),
            detail: format!("no function {name}"),
        })
    }

    /// The first half of a call.
    async fn begin(&self, fault: InvokeFault) -> Result<(), InvokeError> {
        self.cloud.clock().sleep(CALL_TIME / 2).await;
        match fault {
            InvokeFault::Hang => std::future::pending().await,
            InvokeFault::Throttled => Err(throttled()),
            InvokeFault::Error => Err(unknown("ServiceException")),
            InvokeFault::None | InvokeFault::AnswerLost => Ok(()),
        }
    }

    /// The second half of a call.
    async fn end(&self, fault: InvokeFault) -> Result<(), InvokeError> {
        self.cloud.clock().sleep(CALL_TIME / 2).await;
        if fault == InvokeFault::AnswerLost { Err(unknown("BrokenResponse")) } else { Ok(()) }
    }

    async fn run(&self, name: &str, event: &str) -> Result<String, InvokeError> {
        let fault = self.fault("Invoke");
        self.begin(fault).await?;
        let function = self.function(name)?;
        if event.len() > EVENT_BYTES_MAX {
            return Err(InvokeError::Refused {
                code: "RequestTooLargeException".to_owned(),
                detail: format!("{} bytes", event.len()),
            });
        }
        let running = function.invoke_now(event.to_owned()).ok_or_else(throttled)?;
        let result = running.await.map_err(|_| unknown("ServiceException"))?;
        self.end(fault).await?;
        result.map_err(|failure| InvokeError::Failed {
            error_type: failure.error_type,
            message: failure.message,
        })
    }
}

fn throttled() -> InvokeError {
    InvokeError::Throttled { detail: "TooManyRequestsException".to_owned() }
}

fn unknown(code: &str) -> InvokeError {
    InvokeError::Unknown { code: code.to_owned(), detail: "simulated".to_owned() }
}

impl InvokeFunction for Lambda {
    async fn invoke(
        &self,
        function: &str,
        event: &str,
        timeout: Duration,
    ) -> Result<String, InvokeError> {
        let ran = tokio::time::timeout(timeout, self.run(function, event));
        ran.await.unwrap_or_else(|_| Err(unknown("Timeout")))
    }

    async fn invoke_later(&self, function: &str, event: &str) -> Result<(), InvokeError> {
        let fault = self.fault("InvokeLater");
        // The adapter's own timeout.
        let begun = tokio::time::timeout(Duration::from_secs(10), self.begin(fault));
        begun.await.unwrap_or_else(|_| Err(unknown("Timeout")))?;
        self.function(function)?.invoke(event.to_owned(), 0);
        self.end(fault).await
    }
}

impl ReadConcurrency for Lambda {
    async fn get_reserved_concurrency(&self, function: &str) -> Result<Option<u32>, ControlError> {
        let failed = |code: &str, detail: String| ControlError {
            call: "GetFunctionConcurrency",
            code: code.to_owned(),
            detail,
        };
        let fault = self.fault("GetFunctionConcurrency");
        let begun = tokio::time::timeout(Duration::from_secs(10), self.begin(fault)).await;
        if !matches!(begun, Ok(Ok(()))) {
            return Err(failed("ServiceException", "simulated".to_owned()));
        }
        let reserved = self.cloud.account.borrow().reserved(function);
        self.end(fault).await.map_err(|error| failed("BrokenResponse", error.to_string()))?;
        reserved.map_err(|error| failed(&error.code, error.detail))
    }
}

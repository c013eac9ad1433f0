"""Lambda's queue for asynchronous invocations, which MiniStack 1.5.33 does not play faithfully.

MiniStack counts a throttled event (429 at the reserved concurrency) as a failed try, so under load it gives up what AWS
keeps for six hours, and its dead-letter message is an on-failure destination's envelope instead of the raw event.
Here, as on AWS: a throttled event goes back to the queue, waiting ever longer, until it is too old; an event on which the
function failed gets two more tries; then the raw event goes to the function's dead-letter queue with RequestID,
ErrorCode and ErrorMessage as message attributes.

Waiting is scaled down, so that a demo ends: the constants below say by how much.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from limits import ASYNC_EVENT_AGE_SECONDS_MAX, ASYNC_PAUSE_SECONDS_MAX, ASYNC_PAUSE_SECONDS_MIN

THROTTLE_WAIT_FIRST_S = ASYNC_PAUSE_SECONDS_MIN / 20
THROTTLE_WAIT_MAX_S = ASYNC_PAUSE_SECONDS_MAX / 300
ERROR_WAITS_S = (0.5, 1.0)  # AWS: 60 s, then 120 s
# The event invoke config decides; this is what AWS takes when there is none.
RETRIES_DEFAULT = 2
WORKERS = 32


def function_name(function: dict[str, Any]) -> str:
    return str((function.get("config") or function).get("FunctionName", ""))


@dataclass(order=True)
class Waiting:
    """One event in the queue."""

    due: float
    order: int
    function: dict[str, Any] = field(compare=False)
    event: Any = field(compare=False)
    request_id: str = field(compare=False)
    accepted: float = field(compare=False)
    throttled: int = field(compare=False, default=0)
    failed: int = field(compare=False, default=0)


@dataclass
class Policy:
    """What the function's event invoke config and dead-letter config say."""

    retries_max: int
    age_max_s: float
    dead_letter_arn: str

    @staticmethod
    def of(function: dict[str, Any]) -> Policy:
        invoke = function.get("event_invoke_config") or (function.get("event_invoke_configs") or {}).get("$LATEST") or {}
        retries = invoke.get("MaximumRetryAttempts")
        config = function.get("config") or function
        return Policy(
            retries_max=RETRIES_DEFAULT if retries is None else int(retries),
            age_max_s=float(invoke.get("MaximumEventAgeInSeconds") or ASYNC_EVENT_AGE_SECONDS_MAX),
            dead_letter_arn=(config.get("DeadLetterConfig") or {}).get("TargetArn") or "",
        )


class AsyncQueue:
    """Holds events until the function has them, or the dead-letter queue does.

    `execute(function, event)` runs one invocation and returns MiniStack's result (`throttle`, `error`, `body`);
    `dead_letter(arn, body, attributes)` sends a message; `current(function)` is the function as configured now, if it is there;
    `watch(metric, function_name, value)` learns what Lambda would tell CloudWatch.
    """

    def __init__(
        self,
        execute: Callable[[dict[str, Any], Any], dict[str, Any]],
        dead_letter: Callable[[str, str, dict[str, tuple[str, str]]], None],
        current: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda function: function,
        watch: Callable[[str, str, float], None] = lambda metric, function, value: None,
    ) -> None:
        self._execute = execute
        self._dead_letter = dead_letter
        self._current = current
        self._watch = watch
        self._heap: list[Waiting] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._running = 0
        self.accepted = self.succeeded = self.throttles = self.errors = self.dead_lettered = self.dropped = 0
        for _ in range(WORKERS):
            threading.Thread(target=self._work, daemon=True, name="async-invocations").start()

    def put(self, function: dict[str, Any], event: Any) -> str:
        """Accepts an event; Lambda answers 202 at this point."""
        now = time.monotonic()
        request_id = str(uuid.uuid4())
        with self._changed:
            self.accepted += 1
            heapq.heappush(self._heap, Waiting(now, next(self._order), function, event, request_id, now))
            self._changed.notify()
        self._watch("AsyncEventsReceived", function_name(function), 1)
        return request_id

    def status(self) -> dict[str, int]:
        """What has become of everything accepted so far."""
        with self._changed:
            return {
                "accepted": self.accepted,
                "waiting": len(self._heap),
                "running": self._running,
                "succeeded": self.succeeded,
                "throttles": self.throttles,
                "errors": self.errors,
                "dead_lettered": self.dead_lettered,
                "dropped": self.dropped,
            }

    def _take(self) -> Waiting:
        with self._changed:
            while True:
                now = time.monotonic()
                if self._heap and self._heap[0].due <= now:
                    self._running += 1
                    return heapq.heappop(self._heap)
                self._changed.wait(self._heap[0].due - now if self._heap else None)

    def _work(self) -> None:
        while True:
            waiting = self._take()
            try:
                self._attempt(waiting)
            finally:
                with self._changed:
                    self._running -= 1

    def _attempt(self, waiting: Waiting) -> None:
        function = self._current(waiting.function)
        if function is None:
            # Deleted meanwhile, and what waited for it with it.
            with self._changed:
                self.dropped += 1
            return
        started = time.monotonic()
        try:
            result = self._execute(function, waiting.event)
        except Exception as error:  # an engine's own fault counts as the function's, as a crash would on AWS
            result = {"error": True, "body": {"errorType": type(error).__name__, "errorMessage": str(error)}}
        policy = Policy.of(function)
        if not result.get("throttle"):
            name = function_name(function)
            self._watch("Invocations", name, 1)
            self._watch("Errors", name, 1 if result.get("error") else 0)
            self._watch("AsyncEventAge", name, (started - waiting.accepted) * 1000)
        if result.get("throttle"):
            waiting.throttled += 1
            ceiling = min(THROTTLE_WAIT_MAX_S, THROTTLE_WAIT_FIRST_S * 2 ** min(waiting.throttled - 1, 16))
            self._again(waiting, policy, random.uniform(ceiling / 2, ceiling), result, "throttles")
        elif result.get("error"):
            waiting.failed += 1
            if waiting.failed > policy.retries_max:
                with self._changed:
                    self.errors += 1
                self._give_up(waiting, policy, result)
            else:
                wait = ERROR_WAITS_S[min(waiting.failed - 1, len(ERROR_WAITS_S) - 1)]
                self._again(waiting, policy, wait, result, "errors")
        else:
            with self._changed:
                self.succeeded += 1

    def _again(self, waiting: Waiting, policy: Policy, wait: float, result: dict[str, Any], counter: str) -> None:
        now = time.monotonic()
        with self._changed:
            setattr(self, counter, getattr(self, counter) + 1)
            if now + wait - waiting.accepted <= policy.age_max_s:
                waiting.due = now + wait
                heapq.heappush(self._heap, waiting)
                self._changed.notify()
                return
        self._give_up(waiting, policy, result)

    def _give_up(self, waiting: Waiting, policy: Policy, result: dict[str, Any]) -> None:
        if not policy.dead_letter_arn:
            with self._changed:
                self.dropped += 1
            return
        self._watch("AsyncEventsDropped", function_name(waiting.function), 1)
        body = result.get("body")
        message = body.get("errorMessage") or body.get("message") if isinstance(body, dict) else body
        try:
            self._dead_letter(
                policy.dead_letter_arn,
                json.dumps(waiting.event),
                {
                    "RequestID": ("String", waiting.request_id),
                    "ErrorCode": ("Number", "429" if result.get("throttle") else "200"),
                    # AWS cuts the message at 1 KB.
                    "ErrorMessage": ("String", str(message or "unknown")[:1024]),
                },
            )
        except Exception:  # as on AWS: a metric, and the event is gone
            self._watch("DeadLetterErrors", function_name(waiting.function), 1)
            with self._changed:
                self.dropped += 1
            return
        with self._changed:
            self.dead_lettered += 1

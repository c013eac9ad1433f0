"""Starts MiniStack with the holes closed that matter here; see the table "What plays AWS" in README.md beside it.

1. CloudWatch Logs -> Lambda: MiniStack calls the function once from a bare thread and forgets a 429. On AWS the
   subscription goes through Lambda's asynchronous queue. Both that path and `Invoke` with type Event use AsyncQueue.
2. The subscription's payload: 56-digit event ids, as AWS documents, where MiniStack writes UUIDs; and plain UTF-8, where
   MiniStack escapes all but ASCII. That AWS does not escape is taken as given, not looked up: it matters, because the
   envelope copies the escaped text, and a long message of two-byte letters then outgrows a record.
3. Policies that demand TLS (aws:SecureTransport) take loopback for it, where MiniStack speaks plain HTTP.
4. CloudFormation conditions: MiniStack leaves Fn::Join in them unevaluated, so that every list counts as not empty.
5. CloudWatch and EventBridge Scheduler: see metrics_and_alarms.py. MiniStack keeps alarms and schedules and answers for
   them, without a look at roles when the Rust SDK asks; it neither evaluates an alarm over the stream's metrics, nor lets one invoke a function, nor fires a schedule.
6. Kinesis -> Lambda: see event_source_mapping.py. MiniStack's own poller sees only streams of its own and ignores item
   failures, retries and the on-failure destination; what its filter patterns match, MiniStack decides.
7. It ends with whoever started it, unless `--stay` is given: a killed demo leaves nothing behind.

`GET /_sluice/async-queue` shows what the queue holds, `GET /_sluice/cloudwatch` how its alarms stand and
`GET /_sluice/mappings` how far the event source mapping of each function is;
`POST /_sluice/schedules/NAME` lets a schedule be due; `GET /_sluice/queues/NAME` counts messages and the log events that
they say they hold, without receiving them; `POST /_sluice/queues/NAME/wait-over` lets the time pass for which a
queue's messages are invisible or delayed (an hour after a failed replay); `POST /_sluice/sqs-down/SECONDS` lets SQS answer
503 for so long; `POST /_sluice/functions/NAME/kill` ends the function's running invocations as kill -9 does. No AWS interface
does.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import cbor2
from async_queue import AsyncQueue
from botocore.config import Config
from event_source_mapping import EventSourceMapping, Settings
from metrics_and_alarms import MINUTE_S, CloudWatch, key, permits
from ministack import app as ministack_app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.core.responses import get_account_id
from ministack.services import cloudwatch, cloudwatch_logs, lambda_svc, scheduler, sqs
from ministack.services.cloudformation import changesets, engine, handlers, provisioners, stacks

STATUS_PATH = "/_sluice/async-queue"
CLOUDWATCH_PATH = "/_sluice/cloudwatch"
MAPPINGS_PATH = "/_sluice/mappings"
SCHEDULES_PATH = "/_sluice/schedules/"
QUEUES_PATH, WAIT_OVER = "/_sluice/queues/", "/wait-over"
SQS_DOWN_PATH = "/_sluice/sqs-down/"
FUNCTIONS_PATH, KILL = "/_sluice/functions/", "/kill"


def own_sqs_client() -> Any:
    # The account's root, not a role: on AWS the service itself sends, with the function's role checked beforehand.
    return boto3.client(
        "sqs",
        endpoint_url=f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        config=Config(retries={"max_attempts": 5}),
    )


def send_to_queue(arn: str, body: str, attributes: dict[str, tuple[str, str]]) -> None:
    client = own_sqs_client()
    url = client.get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
    client.send_message(
        QueueUrl=url,
        MessageBody=body,
        MessageAttributes={name: {"DataType": kind, "StringValue": value} for name, (kind, value) in attributes.items()},
    )


def current_function(record: dict[str, Any]) -> dict[str, Any] | None:
    # An event that waits meets the function as it is when its turn comes, with a concurrency raised meanwhile.
    return lambda_svc._functions.get((record.get("config") or record).get("FunctionName", ""))


_event_ids = iter(range(int(time.time() * 1000) * 10**6, sys.maxsize))
_event_ids_lock = threading.Lock()


def event_id() -> str:
    with _event_ids_lock:
        return f"{next(_event_ids):056d}"


def subscription_event(group: str, stream: str, filter_name: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    payload = {
        "messageType": "DATA_MESSAGE",
        "owner": get_account_id(),
        "logGroup": group,
        "logStream": stream,
        "subscriptionFilters": [filter_name],
        "logEvents": [{"id": event_id(), "timestamp": event["timestamp"], "message": event["message"]} for event in events],
    }
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return {"awslogs": {"data": base64.b64encode(gzip.compress(text.encode(), 6)).decode()}}


def forward_to_subscriptions(queue: AsyncQueue, group: str, stream: str, events: list[dict[str, Any]]) -> None:
    record = cloudwatch_logs._log_groups.get(group)
    for subscription in ((record or {}).get("subscriptionFilters") or {}).values():
        name = subscription.get("destinationArn", "").split(":function:")[-1].split(":")[0]
        function = lambda_svc._functions.get(name)
        if function is None:
            continue
        pattern = subscription.get("filterPattern", "")
        matching = [
            event for event in events if not pattern or cloudwatch_logs._subscription_pattern_matches(pattern, event.get("message", ""))
        ]
        if matching:
            queue.put(function, subscription_event(group, stream, subscription.get("filterName", ""), matching))


def joined(node: Any, parameters: dict[str, Any]) -> Any:
    """`node` with each Fn::Join over a list parameter, or over literals, replaced by its text."""
    if isinstance(node, list):
        return [joined(item, parameters) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Fn::Join"}:
        delimiter, items = node["Fn::Join"]
        if isinstance(items, dict) and items.get("Ref") in parameters:
            items = str(parameters[items["Ref"]]["Value"]).split(",")
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return delimiter.join(item.strip() for item in items)
    return {name: joined(value, parameters) for name, value in node.items()}


def evaluate_joins_in_conditions() -> None:
    evaluate = engine._evaluate_conditions

    def with_joins(template: dict[str, Any], parameters: dict[str, Any]) -> dict[str, bool]:
        return evaluate({**template, "Conditions": joined(template.get("Conditions", {}), parameters)}, parameters)

    for module in (changesets, engine, handlers, provisioners, stacks):
        if hasattr(module, "_evaluate_conditions"):
            vars(module)["_evaluate_conditions"] = with_joins


def name_actions_as_aws_does() -> None:
    # MiniStack allows what it does not recognise, and it does not recognise rpc-v2-cbor, which the Rust SDK speaks. And it
    # takes a look at a function's concurrency for a change of it.
    action, resource = iam_actions.extract_iam_action, iam_actions.extract_resource_arn

    def operation(service: str, path: str) -> str | None:
        return path.rsplit("/operation/", 1)[-1] if service == "monitoring" and "/operation/" in path else None

    def with_operation(service: str, method: str, path: str, *rest: Any) -> Any:
        named = operation(service, path)
        if service == "lambda" and method == "GET" and path.endswith("/concurrency"):
            return "lambda:GetFunctionConcurrency"
        return f"cloudwatch:{named}" if named else action(service, method, path, *rest)

    def with_alarm(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> Any:
        if operation(service, path):
            body = json.dumps({"AlarmName": (cbor2.loads(body) or {}).get("AlarmName", "")}).encode()
        return resource(service, method, path, headers, body, *rest)

    iam_actions.extract_iam_action, iam_actions.extract_resource_arn = with_operation, with_alarm


def function_of(arn: str) -> dict[str, Any] | None:
    return lambda_svc._functions.get(arn.split(":function:")[-1].split(":")[0])


def play_cloudwatch() -> tuple[CloudWatch, AsyncQueue]:
    minute_s = float(os.environ.get("SLUICE_MINUTE_SECONDS") or 0)
    arrivals = os.environ.get("SLUICE_ARRIVALS")

    def invoke(arn: str, event: Any) -> None:
        if function := function_of(arn):
            queue.put(function, event)

    played = CloudWatch(
        minute_s or MINUTE_S,
        Path(arrivals) if arrivals else None,
        lambda: list(cloudwatch._alarms.values()),
        lambda: list(scheduler._schedules.values()),
        invoke,
        lambda arn, alarm_arn: permits((function_of(arn) or {}).get("policy", {}), alarm_arn),
    )
    queue = AsyncQueue(lambda_svc._execute_function_with_config_scope, send_to_queue, current_function, played.take_from_queue)

    def get_metric_data(params: Any, request: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
        now_s = time.time()
        from_s, to_s = cloudwatch._parse_ts(request.get("StartTime")), cloudwatch._parse_ts(request.get("EndTime"))
        results = []
        for query in request.get("MetricDataQueries", []):
            stat = query["MetricStat"]
            dimensions = {one["Name"]: one["Value"] for one in stat["Metric"].get("Dimensions") or []}
            metric = key(stat["Metric"]["Namespace"], stat["Metric"]["MetricName"], dimensions)
            points = played.metrics.minutes(metric, stat["Stat"], from_s or 0, to_s or now_s, now_s)
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query["Id"],
                    "Timestamps": [begin for begin, _ in points],
                    "Values": [value for _, value in points],
                    "StatusCode": "Complete",
                }
            )
        if is_cbor:
            return cloudwatch._cbor_ok({"MetricDataResults": [cloudwatch._cbor_metric_data_result(one) for one in results]})
        return cloudwatch._json_ok({"MetricDataResults": results})

    append = cloudwatch_logs._append_log_events

    def append_and_look(stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
        append(stream, events)
        for event in events:
            played.take_log_line(event.get("message", ""))

    cloudwatch._get_metric_data = get_metric_data
    cloudwatch._evaluate_alarm = lambda alarm: None
    cloudwatch._dispatch_alarm_actions = played.act
    cloudwatch_logs._append_log_events = append_and_look
    scheduler._tick_schedules = lambda: None
    if minute_s:
        threading.Thread(target=played.run, daemon=True, name="cloudwatch").start()
    return played, queue


class Mappings:
    """Plays every Kinesis mapping that MiniStack keeps, from the moment that it is there."""

    def __init__(self, watch: Callable[[str, str, float], None]) -> None:
        self._watch = watch
        self._played: dict[str, EventSourceMapping] = {}
        lambda_svc._poll_kinesis = lambda: False
        threading.Thread(target=self._run, daemon=True, name="event-source-mappings").start()

    def status(self) -> dict[str, Any]:
        return {played.function: played.status() for played in list(self._played.values())}

    def _run(self) -> None:
        while True:
            there = {uuid: one for uuid, one in list(lambda_svc._esms.items()) if ":kinesis:" in one["EventSourceArn"]}
            for uuid in there.keys() - self._played.keys():
                self._played[uuid] = self._play(there[uuid]).start()
            for uuid in self._played.keys() - there.keys():
                self._played.pop(uuid).stop()
            time.sleep(0.1)

    def _play(self, mapping: dict[str, Any]) -> EventSourceMapping:
        settings = Settings.of(mapping)

        def invoke(event: dict[str, Any]) -> dict[str, Any]:
            function = lambda_svc._functions.get(settings.function)
            if function is None:
                return {"error": True, "body": {"errorMessage": f"there is no function {settings.function}"}}
            return dict(lambda_svc._execute_function_with_config_scope(function, event))

        def on_failure(arn: str, shard_id: str, body: str) -> None:
            if ":s3:" not in arn:
                send_to_queue(arn, body, {})
                return
            day, second = time.strftime("%Y/%m/%d", time.gmtime()), time.strftime("%Y-%m-%dT%H.%M.%S", time.gmtime())
            key = f"aws/lambda/{mapping['UUID']}/{shard_id}/{day}/{second}-{uuid4()}"
            boto3.client("s3").put_object(Bucket=arn.rsplit(":", 1)[-1], Key=key, Body=body.encode())

        return EventSourceMapping(
            # The account's root, where AWS reads as the function's role.
            boto3.client("kinesis", config=Config(max_pool_connections=32)),
            settings,
            invoke,
            on_failure,
            lambda records: lambda_svc._apply_filter_criteria(records, mapping),
            lambda metric, value: self._watch(metric, settings.function, value),
        )


def close_the_holes() -> tuple[CloudWatch, AsyncQueue, Mappings]:
    played, queue = play_cloudwatch()
    lambda_svc.invoke_async_with_retry = lambda function, event: queue.put(function, event)
    cloudwatch_logs._fanout_to_subscription_filters = lambda group, stream, events: forward_to_subscriptions(queue, group, stream, events)
    evaluate_joins_in_conditions()
    name_actions_as_aws_does()
    resolve = iam_evaluator._resolve_condition_key
    iam_evaluator._resolve_condition_key = lambda name, context: "true" if name.lower() == "aws:securetransport" else resolve(name, context)
    return played, queue, Mappings(played.take_from_queue)


def fire_schedule(played: CloudWatch, name: str) -> dict[str, Any]:
    for schedule in list(scheduler._schedules.values()):
        if schedule.get("Name") == name:
            played.fire(schedule)
            return {"fired": name}
    return {"unknown": name}


def messages_of(queue: str) -> list[dict[str, Any]] | None:
    return next((list(one["messages"]) for one in list(sqs._queues.values()) if one["name"] == queue), None)


def let_wait_pass(queue: str) -> dict[str, Any]:
    messages = messages_of(queue)
    if messages is None:
        return {"unknown": queue}
    now = time.time()
    waiting = [message for message in messages if message.get("visible_at", 0) > now]
    for message in waiting:
        message["visible_at"] = now
    return {"visible": len(waiting)}


def counted(queue: str) -> dict[str, Any]:
    messages = messages_of(queue)
    if messages is None:
        return {"unknown": queue}
    told = (message["message_attributes"].get("LogEvents", {}).get("StringValue", 0) for message in messages)
    return {"messages": len(messages), "log_events": sum(int(number) for number in told)}


def kill_running(function: str) -> dict[str, Any]:
    with lambda_runtime._lock:
        workers = [worker for pool in lambda_runtime._workers.values() for worker in pool]
    killed = 0
    for worker in workers:
        process = worker._proc
        if worker.func_name == function and worker.in_use and worker._current_request_id and process is not None:
            process.kill()
            killed += 1
    return {"killed": killed}


def asks_sqs(scope: dict[str, Any]) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"x-amz-target", b"").startswith(b"AmazonSQS.") or b"/sqs/aws4_request" in headers.get(b"authorization", b"")


def with_status(app: Any, played: CloudWatch, queue: AsyncQueue, mappings: Mappings) -> Any:
    sqs_down_until = 0.0

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        nonlocal sqs_down_until
        path = scope["path"] if scope["type"] == "http" else ""
        if path and time.time() < sqs_down_until and asks_sqs(scope):
            headers = [(b"content-type", b"application/x-amz-json-1.0")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"__type":"ServiceUnavailable"}'})
            return
        if path == STATUS_PATH:
            answer: dict[str, Any] = queue.status()
        elif path == CLOUDWATCH_PATH:
            answer = {**played.status(), "in_flight": lambda_svc.executions_in_flight()[1]}
        elif path == MAPPINGS_PATH:
            answer = mappings.status()
        elif path.startswith(SCHEDULES_PATH) and scope["method"] == "POST":
            answer = fire_schedule(played, path.removeprefix(SCHEDULES_PATH))
        elif path.startswith(QUEUES_PATH) and path.endswith(WAIT_OVER) and scope["method"] == "POST":
            answer = let_wait_pass(path.removeprefix(QUEUES_PATH).removesuffix(WAIT_OVER))
        elif path.startswith(QUEUES_PATH) and scope["method"] == "GET":
            answer = counted(path.removeprefix(QUEUES_PATH))
        elif path.startswith(FUNCTIONS_PATH) and path.endswith(KILL) and scope["method"] == "POST":
            answer = kill_running(path.removeprefix(FUNCTIONS_PATH).removesuffix(KILL))
        elif path.startswith(SQS_DOWN_PATH) and scope["method"] == "POST":
            sqs_down_until = time.time() + float(path.removeprefix(SQS_DOWN_PATH))
            answer = {"until": sqs_down_until}
        else:
            await app(scope, receive, send)
            return
        # By the number its starter knows that nobody else has the port.
        headers = [(b"content-type", b"application/json"), (b"x-sluice-pid", str(os.getpid()).encode())]
        await send({"type": "http.response.start", "status": 404 if "unknown" in answer else 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return serve


def end_with_parent() -> None:
    """Stops this process when stdin closes, which it does however the parent ends."""

    def watch() -> None:
        # Not sys.stdin: its lock, held by this thread, would break the interpreter's own end.
        while os.read(0, 64):
            pass
        # The group, which this process leads: its functions would outlive it.
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def main() -> None:
    if "--stay" not in sys.argv:
        end_with_parent()
    sys.argv = sys.argv[:1]
    ministack_app.app = with_status(ministack_app.app, *close_the_holes())
    ministack_app.main()


if __name__ == "__main__":
    main()

"""What cannot be delivered is in the dead-letter queue or in quarantine, in a shape that can be looked at or fed back."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from typing import Any

import engines as local
import pytest
import stack
from compare import Arrivals, events_in
from conftest import Launch, now_ms, write_logs
from demo import awslogs
from limits import PAYLOAD_INFLATED_BYTES_MAX, RECORD_BYTES_MAX
from read_back import Event, records


def data(raw: bytes) -> dict[str, Any]:
    return {"awslogs": {"data": base64.b64encode(raw).decode()}}


def bomb() -> bytes:
    return gzip.compress(b'{"messageType":"DATA_MESSAGE","pad":"' + b"a" * (PAYLOAD_INFLATED_BYTES_MAX + 1) + b'"}', 9)


GOOD = gzip.compress(json.dumps({"messageType": "DATA_MESSAGE", "logEvents": []}).encode() * 50)
BAD_PAYLOADS = {
    "not base64": {"awslogs": {"data": "*** not base64 ***"}},
    "not gzip": data(b"plain text"),
    "truncated gzip": data(GOOD[: len(GOOD) // 2]),
    "gzip bomb": data(bomb()),
    "not JSON": data(gzip.compress(b"{oops")),
    "JSON of another shape": data(gzip.compress(b'["a", 1]')),
    "unknown message type": awslogs(
        {"messageType": "SURPRISE", "owner": "0", "logGroup": "g", "logStream": "s", "subscriptionFilters": [],
         "logEvents": [{"id": "1", "timestamp": 1, "message": "m"}]}
    ),
    "another event altogether": {"Records": [{"kinesis": {}}]},
}  # fmt: skip


def delivered(engines: local.Engines, pipeline: stack.Pipeline) -> Counter[Event]:
    arrivals = Arrivals()
    arrivals.take(records(engines, pipeline.stream_name), "kpl", "envelope")
    return arrivals.events


def test_a_payload_that_can_never_succeed_is_kept_raw_with_its_reason(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    reasons = {}
    for name, event in BAD_PAYLOADS.items():
        assert stack.invoke(engines, pipeline, event, wait=True)["error"] is None, name
        letters = stack.quarantined(engines, pipeline)
        assert len(letters) == 1, name
        assert json.loads(letters[0]["body"]) == event, name
        reasons[name] = letters[0]["attributes"]["Reason"]
        assert letters[0]["attributes"]["ReasonDetail"], name
    assert all(reason == reason.lower() and " " not in reason for reason in reasons.values()), reasons
    assert len(set(reasons.values())) >= 6, f"reasons that do not tell one failure from another: {reasons}"
    assert list(records(engines, pipeline.stream_name)) == []
    assert stack.dead_letters(engines, pipeline) == [], "nobody need replay it"


def test_without_a_quarantine_it_goes_to_the_dead_letter_queue(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    stack.set_variables(engines, pipeline.function_name, QUARANTINE_QUEUE_URL=None)
    assert stack.invoke(engines, pipeline, BAD_PAYLOADS["not gzip"], wait=True)["error"] is None
    assert [letter["attributes"]["Reason"] for letter in stack.dead_letters(engines, pipeline)] == ["not-gzip"]


def test_unknown_fields_are_accepted(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    event = awslogs(
        {"messageType": "DATA_MESSAGE", "owner": "000000000000", "logGroup": "g", "logStream": "s",
         "subscriptionFilters": ["f"], "policyLevel": "ACCOUNT_LEVEL_POLICY", "new": {"deep": [1, None]},
         "logEvents": [{"id": "1", "timestamp": 5, "message": "m", "extractedFields": {"a": "b"}}]}
    )  # fmt: skip
    assert stack.invoke(engines, pipeline, event, wait=True)["error"] is None
    assert delivered(engines, pipeline) == Counter([Event("g", "s", 5, b"m")])


def test_an_event_that_fits_no_record_is_quarantined_alone(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    # Under the record limit as it comes, over it in its envelope (which adds 88 bytes here, and the key some more).
    fits_not = "x" * (RECORD_BYTES_MAX - 80)
    messages = ["before", fits_not, "after"]
    event = awslogs(
        {"messageType": "DATA_MESSAGE", "owner": "000000000000", "logGroup": "g", "logStream": "s",
         "subscriptionFilters": ["f"],
         "logEvents": [{"id": str(n), "timestamp": n, "message": text} for n, text in enumerate(messages)]}
    )  # fmt: skip
    assert stack.invoke(engines, pipeline, event, wait=True)["error"] is None
    assert delivered(engines, pipeline) == Counter([Event("g", "s", 0, b"before"), Event("g", "s", 2, b"after")])
    assert max(record.size for record in records(engines, pipeline.stream_name)) <= RECORD_BYTES_MAX
    letters = stack.quarantined(engines, pipeline)
    assert [events_in(json.loads(letter["body"])) for letter in letters] == [[Event("g", "s", 1, fits_not.encode())]]
    assert letters[0]["attributes"]["LogEvents"] == "1"


def test_around_the_record_limit_an_event_is_delivered_or_quarantined(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch(Transform="passthrough", RecordFormat="single")
    messages = [f"{spare:03d}".ljust(RECORD_BYTES_MAX - spare, "x") for spare in (0, 1, 4, 16, 64, 256)]
    for message in messages:
        event = awslogs(
            {"messageType": "DATA_MESSAGE", "owner": "000000000000", "logGroup": "g", "logStream": "s",
             "subscriptionFilters": ["f"], "logEvents": [{"id": "1", "timestamp": 1, "message": message}]}
        )  # fmt: skip
        assert stack.invoke(engines, pipeline, event, wait=True)["error"] is None
    written = list(records(engines, pipeline.stream_name))
    assert all(record.size <= RECORD_BYTES_MAX for record in written)
    dead = [event.message for letter in stack.quarantined(engines, pipeline) for event in events_in(json.loads(letter["body"]))]
    assert sorted([record.data for record in written] + dead) == sorted(message.encode() for message in messages)
    assert messages[0].encode() in dead, "no room for a key"
    assert messages[-1].encode() not in dead, "room enough"


def test_without_its_stream_the_remainder_is_dead_lettered_and_can_be_replayed(engines: local.Engines, launch: Launch) -> None:
    engines.client("logs").create_log_group(logGroupName="/t/gone")
    pipeline = launch(LogGroupNames="/t/gone")
    stack.delete_stream(engines, pipeline.stream_name)
    sent = Counter(write_logs(engines, "/t/gone", "s", [f"line {number} ü 😀" for number in range(300)]))
    before = stack.settle(engines)
    letters = stack.dead_letters(engines, pipeline)
    assert sum((Counter(events_in(json.loads(letter["body"]))) for letter in letters), Counter()) == sent
    assert all(letter["attributes"]["Reason"] for letter in letters)
    stack.create_stream(engines, pipeline.stream_name, 1)
    for letter in letters:
        assert stack.invoke(engines, pipeline, json.loads(letter["body"]), wait=True)["error"] is None
    assert delivered(engines, pipeline) == sent
    assert stack.settle(engines)["errors"] == before["errors"], "the remainder was handed over, so nothing failed"


def test_with_neither_stream_nor_queue_lambda_retries_and_keeps_the_raw_event(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    stack.set_variables(engines, pipeline.function_name, DEAD_LETTER_QUEUE_URL=None)
    stack.delete_stream(engines, pipeline.stream_name)
    event = awslogs(
        {"messageType": "DATA_MESSAGE", "owner": "000000000000", "logGroup": "g", "logStream": "s",
         "subscriptionFilters": ["f"], "logEvents": [{"id": "1", "timestamp": now_ms(), "message": "keep me"}]}
    )  # fmt: skip
    before = stack.settle(engines)
    stack.invoke(engines, pipeline, event)
    after = stack.settle(engines)
    assert after["errors"] - before["errors"] == 3, "one try and two more"
    letters = stack.dead_letters(engines, pipeline)
    assert [json.loads(letter["body"]) for letter in letters] == [event]
    assert {"RequestID", "ErrorCode", "ErrorMessage"} <= letters[0]["attributes"].keys()


def test_the_role_may_do_nothing_else(engines: local.Engines, launch: Launch) -> None:
    """MiniStack enforces the role: what the template forgot to allow would have failed above; what it must not allow:"""
    pipeline = launch()
    role = engines.client("lambda").get_function_configuration(FunctionName=pipeline.function_name)["Role"]
    iam = engines.client("iam")
    name = role.rsplit("/", 1)[-1]
    statements = [
        statement
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        for statement in iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]["Statement"]
    ]
    actions = {action for statement in statements for action in as_list(statement["Action"])}
    assert actions == {"kinesis:PutRecords", "sqs:SendMessage", "logs:CreateLogStream", "logs:PutLogEvents"}
    assert all(resource != "*" for statement in statements for resource in as_list(statement["Resource"]))
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("setting", ["STREAM_NAME", "TRANSFORM", "RECORD_FORMAT"])
def test_a_function_without_a_variable_fails_and_loses_nothing(engines: local.Engines, launch: Launch, setting: str) -> None:
    pipeline = launch()
    stack.set_variables(engines, pipeline.function_name, **{setting: None})
    event = awslogs({"messageType": "DATA_MESSAGE", "owner": "0", "logGroup": "g", "logStream": "s",
                     "subscriptionFilters": [], "logEvents": [{"id": "1", "timestamp": 1, "message": "m"}]})  # fmt: skip
    stack.invoke(engines, pipeline, event)
    stack.settle(engines)
    assert [json.loads(letter["body"]) for letter in stack.dead_letters(engines, pipeline)] == [event]

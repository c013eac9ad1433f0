"""`make quarantine-show` and `make quarantine-send-back`: looking disturbs nothing, and what is sent back reaches the stream."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import engines as local
import pytest
import stack
from conftest import Launch, payload_event
from engines import ROOT, plain_environment
from test_failures import BAD_PAYLOADS, delivered
from test_replay import EMPTY, Replaying, replaying, waiting

TOOL = ROOT / "infra" / "quarantine.py"
__all__ = ["replaying"]


def tool(engines: local.Engines, *arguments: str, code: int = 0) -> str:
    environment = plain_environment(AWS_ENDPOINT_URL=engines.endpoint)
    done = subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + (done.stderr if code else "")


def send(engines: local.Engines, queue_url: str, body: str, **attributes: str) -> None:
    kinds = {"LogEvents": "Number", "Attempts": "Number", "DeadLetteredAt": "Number"}
    engines.client("sqs").send_message(
        QueueUrl=queue_url,
        MessageBody=body,
        MessageAttributes={
            name: {"DataType": kinds.get(name, "String"), "StringValue": value} for name, value in attributes.items()
        },
    )


@pytest.fixture
def filled(engines: local.Engines, replaying: Replaying) -> stack.Pipeline:
    """A quarantine with one message that the processor put there, one that a replayer gave up, one that SQS moved."""
    pipeline = replaying()
    assert stack.invoke(engines, pipeline, BAD_PAYLOADS["not gzip"], wait=True)["error"] is None
    send(
        engines,
        pipeline.quarantine_queue_url,
        json.dumps(payload_event(["secret one", "secret two"], "/t/group", "stream\x1b[31m", 1_790_000_000_000)),
        Reason="stream-unavailable", ReasonDetail="ResourceNotFoundException: no stream", LogEvents="2", Attempts="5",
        DeadLetteredAt="1795000000000",
    )  # fmt: skip
    send(
        engines,
        pipeline.quarantine_queue_url,
        json.dumps(payload_event(["secret three"], "/t/other")),
        RequestID="r", ErrorCode="200", ErrorMessage="killed",
    )  # fmt: skip
    return pipeline


def test_show_says_what_is_there_and_disturbs_nothing(engines: local.Engines, filled: stack.Pipeline) -> None:
    queue = filled.quarantine_queue_url
    text = tool(engines, "show", "--queue", queue)
    rows = [re.split(r"  +", line) for line in text.splitlines()]
    assert rows[0][:6] == ["AGE", "DELETED IN", "REASON", "TRIES", "EVENTS", "LOG GROUP"]
    first = rows[1]
    assert first[2:7] == ["stream-unavailable", "5", "2", "/t/group", "stream\\x1b[31m"], "oldest first, and no escapes"
    assert first[7:] == ["2026-09-21 14:13:20", "ResourceNotFoundException: no stream"]
    assert first[1] == "14 d" or first[1] == "13 d"
    for word in ("not-gzip", "moved-by-sqs", "killed", "1  stream-unavailable"):
        assert word in text
    assert "secret" not in text
    assert "secret two" in tool(engines, "show", "--queue", queue, "--text")
    told = json.loads(tool(engines, "show", "--queue", queue, "--json", "--reason", "moved-by-sqs"))
    assert [one["logGroup"] for one in told["messages"]] == ["/t/other"]
    assert told["reasons"] == {"moved-by-sqs": 1}
    assert len(json.loads(tool(engines, "show", "--queue", queue, "--json", "--max", "2"))["messages"]) == 2
    assert waiting(engines, queue) == {**EMPTY, "visible": 3}


def test_by_its_stack_the_queue_is_found(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    name = pipeline.function_name.removesuffix("-log-processor") + "-log-processing"
    assert tool(engines, "show", "--stack", name) == "Nothing there.\n"
    assert "no-such-stack" in tool(engines, "show", "--stack", "no-such-stack", code=1)
    assert "is it a quarantine queue" in tool(engines, "send-back", "--queue", pipeline.dead_letter_queue_url, code=1)


def test_what_is_sent_back_is_replayed_into_the_stream(engines: local.Engines, filled: stack.Pipeline) -> None:
    queue = filled.quarantine_queue_url
    assert tool(engines, "send-back", "--queue", queue, "--dry-run").startswith("3 would be sent back")
    assert waiting(engines, queue) == {**EMPTY, "visible": 3}
    said = tool(engines, "send-back", "--queue", queue, "--reason", "stream-unavailable")
    assert said.startswith(f"1 sent back to {filled.dead_letter_queue_url}")
    assert waiting(engines, queue) == {**EMPTY, "visible": 2}
    assert tool(engines, "send-back", "--queue", queue).startswith("2 sent back")
    assert waiting(engines, queue) == EMPTY

    report = stack.replay(engines, filled, {"max": 3})
    assert (report["replayed"], report["quarantined"], report["left"]) == (2, 1, 0)
    assert sorted(event.message for event in delivered(engines, filled)) == [b"secret one", b"secret three", b"secret two"]
    (poison,) = stack.quarantined(engines, filled)
    assert poison["attributes"]["Reason"] == "not-gzip", "not repaired, so it is back"


def test_on_its_way_back_a_message_keeps_its_first_day_and_begins_anew(
    engines: local.Engines, filled: stack.Pipeline
) -> None:
    tool(engines, "send-back", "--queue", filled.quarantine_queue_url)
    back = [letter["attributes"] for letter in stack.dead_letters(engines, filled)]
    assert {"LogEvents": "2", "Attempts": "0", "DeadLetteredAt": "1795000000000", "SentBack": "true"} in back
    (moved,) = [attributes for attributes in back if "ErrorMessage" in attributes]
    assert (moved["ErrorMessage"], moved["Attempts"], moved["SentBack"]) == ("killed", "0", "true")
    assert int(moved["DeadLetteredAt"]) > 1_795_000_000_000, "for want of better, when it came to SQS"


def test_thousands_are_sent_back_and_none_is_lost(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    sqs = engines.client("sqs")
    bodies = [json.dumps({"awslogs": {"data": str(number)}}) for number in range(2_000)]
    reason = {"Reason": {"DataType": "String", "StringValue": "not-gzip"}}
    for at in range(0, len(bodies), 10):
        sqs.send_message_batch(
            QueueUrl=pipeline.quarantine_queue_url,
            Entries=[
                {"Id": str(number), "MessageBody": body, "MessageAttributes": reason}
                for number, body in enumerate(bodies[at : at + 10])
            ],
        )
    said = tool(engines, "send-back", "--queue", pipeline.quarantine_queue_url, "--max", "1500")
    assert said.startswith("1,500 sent back")
    back = [letter["body"] for letter in stack.dead_letters(engines, pipeline)]
    stayed = [letter["body"] for letter in stack.quarantined(engines, pipeline)]
    assert (len(back), len(stayed)) == (1_500, 500)
    assert sorted(back + stayed) == sorted(bodies)


def test_the_messages_of_a_batch_fit_a_call(engines: local.Engines, launch: Launch) -> None:
    """A message may be a MiB, and so may a whole batch."""
    pipeline = launch()
    for letter in "abc":
        send(engines, pipeline.quarantine_queue_url, letter * 900_000, Reason="not-json")
    assert tool(engines, "send-back", "--queue", pipeline.quarantine_queue_url).startswith("3 sent back")
    assert sorted(letter["body"][0] for letter in stack.dead_letters(engines, pipeline)) == ["a", "b", "c"]


def test_what_cannot_be_deleted_after_it_was_sent_is_in_both_queues(
    engines: local.Engines, filled: stack.Pipeline, tmp_path: Path
) -> None:
    """Killed between the two, the tool has copied, not moved: nothing is nowhere."""
    killer = tmp_path / "killed.py"
    killer.write_text(
        f"import sys, os; sys.path.insert(0, {str(TOOL.parent)!r})\n"
        "import quarantine\n"
        "quarantine.Quarantine.delete = lambda self, batch: os._exit(9)\n"
        "sys.exit(quarantine.main())\n"
    )
    environment = plain_environment(AWS_ENDPOINT_URL=engines.endpoint)
    done = subprocess.run(
        [sys.executable, killer, "send-back", "--queue", filled.quarantine_queue_url], env=environment, capture_output=True
    )
    assert done.returncode == 9
    assert len(stack.dead_letters(engines, filled)) == len(stack.quarantined(engines, filled)) == 3


def test_the_make_targets_run_the_tool(engines: local.Engines, filled: stack.Pipeline) -> None:
    """With the tests' own Python: the deploy tools need not be installed here."""
    environment = {**plain_environment(AWS_ENDPOINT_URL=engines.endpoint), "MAKEFLAGS": ""}

    def make(*arguments: str) -> str:
        done = subprocess.run(
            ["make", "--no-print-directory", "-o", "deploy-tools", f"DEPLOY_TOOLS={Path(sys.executable).parent}",
             f"QUARANTINE_QUEUE={filled.quarantine_queue_url}", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert len(json.loads(make("quarantine-show", "JSON=1", "MAX=2"))["messages"]) == 2
    assert make("quarantine-send-back", "REASON=not-gzip", "DRY_RUN=1").startswith("1 would be sent back")
    assert make("quarantine-send-back").startswith("3 sent back")

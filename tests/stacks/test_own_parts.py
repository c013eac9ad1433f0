"""Our own parts of the local AWS, and the demo's judgement: each must be able to say no."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from typing import Any

import async_queue
import dashboard
import limits
import pytest
from async_queue import AsyncQueue
from compare import Arrivals, judge
from consumers_act import Comparison, first_half
from demo import BadVariable, Options
from engines import ROOT
from metrics_and_alarms import CloudWatch, Metrics, emf_points, key, permits
from read_back import Event, NotReadable, Record, archived_event, exact_arrival_ms, payloads

FUNCTION = {"config": {"FunctionName": "f", "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:r:0:q"}}}
THROTTLED = {"throttle": True, "error": True, "body": {"message": "Rate Exceeded"}}
FAILED = {"error": True, "body": {"errorMessage": "boom"}}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_queue, "THROTTLE_WAIT_FIRST_S", 0.001)
    monkeypatch.setattr(async_queue, "THROTTLE_WAIT_MAX_S", 0.01)
    monkeypatch.setattr(async_queue, "ERROR_WAITS_S", (0.001, 0.001))


def run(answers: Any, events: int = 1, function: dict[str, Any] = FUNCTION) -> tuple[AsyncQueue, list[Any], list[Any]]:
    calls: list[Any] = []
    letters: list[Any] = []
    lock = threading.Lock()

    def execute(_: dict[str, Any], event: Any) -> dict[str, Any]:
        with lock:
            calls.append(event)
            return answers(len(calls))

    queue = AsyncQueue(execute, lambda arn, body, attributes: letters.append((arn, body, attributes)))
    for number in range(events):
        queue.put(function, {"number": number})
    while (status := queue.status())["waiting"] or status["running"]:
        time.sleep(0.005)
    return queue, calls, letters


def test_a_throttled_event_comes_again_until_it_is_taken() -> None:
    queue, calls, letters = run(lambda call: THROTTLED if call <= 40 else {"body": None}, events=5)
    assert (queue.succeeded, queue.throttles, letters) == (5, 40, [])
    assert {call["number"] for call in calls} == set(range(5))


def test_a_failing_event_gets_two_more_tries_and_then_the_raw_event_is_dead_lettered() -> None:
    queue, calls, letters = run(lambda _: FAILED)
    assert len(calls) == 3
    ((arn, body, attributes),) = letters
    assert (arn, json.loads(body)) == ("arn:aws:sqs:r:0:q", {"number": 0})
    assert attributes["ErrorMessage"] == ("String", "boom")
    assert (queue.dead_lettered, queue.dropped) == (1, 0)


def test_throttles_do_not_use_up_the_tries() -> None:
    _, calls, letters = run(lambda call: THROTTLED if call % 2 else (FAILED if call < 6 else {"body": None}))
    assert (len(calls), letters) == (6, [])


def test_an_event_that_grows_too_old_is_dead_lettered() -> None:
    function = {**FUNCTION, "event_invoke_config": {"MaximumEventAgeInSeconds": 0.05}}
    _, _, letters = run(lambda _: THROTTLED, function=function)
    assert letters[0][2]["ErrorCode"] == ("Number", "429")


def event(number: int) -> Event:
    return Event("g", "s", number, b"m")


def arrivals(*events: Event) -> Arrivals:
    return Arrivals(events=Counter(events), payload_sizes=[1] * len(events), record_sizes=[1] * len(events))


def test_the_judge_tells_lost_duplicated_invented_and_dead_lettered_apart() -> None:
    sent = Counter([event(1), event(2), event(2), event(3)])
    assert judge(sent, arrivals(event(1), event(2), event(2), event(3)), Counter()).good
    missing = judge(sent, arrivals(event(1), event(2), event(3)), Counter())
    assert (missing.lost, missing.duplicated, missing.good) == (1, 0, False)
    twice = judge(sent, arrivals(event(1), event(1), event(2), event(2), event(3)), Counter())
    assert (twice.lost, twice.duplicated, twice.good) == (0, 1, False)
    invented = judge(sent, arrivals(event(1), event(2), event(2), event(3), event(9)), Counter())
    assert (invented.unexpected, invented.good) == (1, False)
    parked = judge(sent, arrivals(event(1), event(2), event(2)), Counter([event(3)]))
    assert (parked.lost, parked.dead_lettered, parked.good) == (0, 1, False)
    assert not judge(Counter(), arrivals(), Counter()).good


def test_a_comparison_tells_lost_duplicated_and_invented_apart() -> None:
    expected = Counter(["one", "two", "two", "three"])
    for found, told, good in (
        (["one", "two", "two", "three"], "0 lost, 0 duplicated", True),
        (["one", "two", "three"], "1 lost, 0 duplicated", False),
        (["one", "one", "two", "two", "three"], "0 lost, 1 duplicated", True),
        (["one", "two", "two", "three", "nine"], "0 lost, 0 duplicated, 1 never sent", False),
    ):
        compared = Comparison.of(expected, Counter(found))
        assert (compared.told(), compared.good) == (told, good)
    assert not Comparison.of(Counter(), Counter()).good, "nothing to compare is no success"


def test_the_first_half_is_a_window_of_whole_seconds() -> None:
    assert first_half([10_900, 14_100, 20_300]) == (10_000, 16_000)
    assert first_half([10_900]) == (10_000, 11_000)


def test_a_line_of_the_archive_gives_its_event_back() -> None:
    assert archived_event(b'{"a":1}') == b'{"a":1}'
    assert archived_event(b'{"sluiceText":"two\\nlines \xc3\xa9"}') == "two\nlines é".encode()
    assert archived_event(b'{"sluiceText":"a\\u2028\\r\\ufeff"}') == "a\u2028\r\ufeff".encode()
    assert archived_event(b'{"sluiceBase64":"/w=="}') == b"\xff"


def test_an_aggregate_with_a_wrong_digest_is_not_taken_for_a_plain_record() -> None:
    from aws_kinesis_agg.aggregator import RecordAggregator

    aggregator = RecordAggregator()
    for message in (b"one", b"two"):
        aggregator.add_user_record("key", message)
    aggregated = aggregator.clear_and_get()
    assert aggregated is not None
    _, _, good = aggregated.get_contents()
    assert payloads(Record("shard", "key", good, 0), "kpl") == [b"one", b"two"]
    with pytest.raises(NotReadable):
        payloads(Record("shard", "key", good[:-1] + bytes([good[-1] ^ 1]), 0), "kpl")
    with pytest.raises(NotReadable):
        payloads(Record("shard", "another key", good, 0), "kpl")


def test_an_arrival_must_be_the_served_one_in_more_detail() -> None:
    assert exact_arrival_ms(5_000, 5_678) == 5_678
    for captured in (None, 4_999, 6_000):
        with pytest.raises(NotReadable):
            exact_arrival_ms(5_000, captured)


@pytest.mark.parametrize(
    "variables",
    [{"FORMAT": "avro"}, {"TRANSFORM": "x"}, {"SEED": "abc"}, {"EVENTS": "0"}, {"EVENTS": "1e5"}, {"KEEP": "yes"},
     {"SCALING": "no"}, {"FAILURES": "2"}, {"CONSUMERS": "yes"}, {"LOGS": "/no/such/path"}],
)  # fmt: skip
def test_a_bad_variable_is_named(variables: dict[str, str]) -> None:
    with pytest.raises(BadVariable, match=next(iter(variables))):
        Options.from_environment(variables)


ALARM_ARN = "arn:aws:cloudwatch:r:000000000000:alarm:s-incoming-records"
FUNCTION_ARN = "arn:aws:lambda:r:000000000000:function:s-scale-up"
INCOMING = key("AWS/Kinesis", "IncomingRecords", {"StreamName": "s"})


def alarm(threshold: float = 100, **more: Any) -> dict[str, Any]:
    return {
        "AlarmName": "s-incoming-records", "AlarmArn": ALARM_ARN, "AlarmActions": [FUNCTION_ARN], "StateValue": "OK",
        "Namespace": "AWS/Kinesis", "MetricName": "IncomingRecords", "Statistic": "Sum", "Period": 60,
        "Dimensions": [{"Name": "StreamName", "Value": "s"}], "EvaluationPeriods": 1, "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching", **more,
    }  # fmt: skip


def cloudwatch(alarms: list[dict[str, Any]], may: bool = True, arrivals: Any = None) -> tuple[CloudWatch, list[Any]]:
    invoked: list[Any] = []
    played = CloudWatch(60, arrivals, lambda: alarms, list, lambda arn, event: invoked.append((arn, event)), lambda _, __: may)
    return played, invoked


def test_a_short_minute_keeps_rates_and_stands_where_the_functions_look() -> None:
    metrics = Metrics(minute_s=3)
    for second in range(999_990, 1_000_005):
        metrics.put(INCOMING, second + 0.5, [10])
    # 999,990 to 1,000,005 are five minutes of three seconds; the present one is not over.
    points = metrics.minutes(INCOMING, "Sum", 1_000_005 - 900, 1_000_005, now_s=1_000_006)
    assert [value for _, value in points] == [600.0] * 5, "ten a second"
    # The present minute of the wall clock began at 999,960.
    assert [begin for begin, _ in points] == [999_660, 999_720, 999_780, 999_840, 999_900]
    assert metrics.statistic(INCOMING, "Maximum", 1, 0, 1_000_006) == 10
    assert metrics.statistic(INCOMING, "Sum", 1, 9, 1_000_006) is None


def test_an_alarm_invokes_on_a_change_of_state_only_and_again_once_armed() -> None:
    watched = alarm()
    played, invoked = cloudwatch([watched])
    for minute in range(4):
        played.metrics.put(INCOMING, 600 + minute * 60, [101])
        played.evaluate(watched, 661 + minute * 60)
    ((arn, event),) = invoked
    assert (arn, event["alarmData"]["alarmName"]) == (FUNCTION_ARN, "s-incoming-records")
    watched["StateValue"] = "INSUFFICIENT_DATA"
    played.evaluate(watched, 841)
    assert len(invoked) == 2
    played.evaluate(watched, 1_000)
    assert (watched["StateValue"], len(invoked)) == ("OK", 2), "no data is no load"


def test_the_threshold_itself_does_not_breach_and_every_period_must() -> None:
    at, above = alarm(threshold=100), alarm(threshold=99, EvaluationPeriods=2)
    played, invoked = cloudwatch([at, above])
    played.metrics.put(INCOMING, 601, [100])
    for one in (at, above):
        played.evaluate(one, 661)
    assert (at["StateValue"], above["StateValue"], invoked) == ("OK", "OK", [])


def test_an_alarm_that_ignores_missing_data_stands_as_it_is() -> None:
    watched = alarm(TreatMissingData="ignore")
    played, invoked = cloudwatch([watched])
    played.metrics.put(INCOMING, 601, [101])
    for now_s in (661, 1_000, 5_000):
        played.evaluate(watched, now_s)
    assert (watched["StateValue"], len(invoked)) == ("ALARM", 1)
    played.metrics.put(INCOMING, 6_001, [0])
    played.evaluate(watched, 6_061)
    assert watched["StateValue"] == "OK"


def test_an_alarm_without_permission_invokes_nothing() -> None:
    watched = alarm()
    played, invoked = cloudwatch([watched], may=False)
    played.metrics.put(INCOMING, 601, [101])
    played.evaluate(watched, 661)
    assert (invoked, played.refused_actions) == ([], 1)
    statement = {
        "Principal": {"Service": "lambda.alarms.cloudwatch.amazonaws.com"},
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:cloudwatch:r:000000000000:alarm:s-*"}},
    }
    assert permits({"Statement": [statement]}, ALARM_ARN)
    assert not permits({"Statement": [statement]}, ALARM_ARN.replace("s-incoming", "t-incoming"))
    assert not permits({"Statement": [{**statement, "Principal": {"Service": "sns.amazonaws.com"}}]}, ALARM_ARN)
    assert not permits({}, ALARM_ARN)


def test_arrivals_and_metric_lines_become_metrics(tmp_path: Any) -> None:
    arrivals = tmp_path / "arrivals.ndjson"
    line = '{"op":"PutRecords","ts":601000,"stream":"s","partition_key":"key","data":"YWJjZA==","sequence_number":"1"}\n'
    played, _ = cloudwatch([], arrivals=arrivals)
    arrivals.write_text(line * 2 + line[:20])
    played.read_arrivals()
    with open(arrivals, "a") as more:
        more.write(line[20:])
    played.read_arrivals()
    played.read_arrivals()
    assert played.metrics.statistic(INCOMING, "Sum", 1, 0, 661) == 3
    bytes_in = key("AWS/Kinesis", "IncomingBytes", {"StreamName": "s"})
    assert played.metrics.statistic(bytes_in, "Sum", 1, 0, 661) == 3 * 7
    emf = {
        "_aws": {"Timestamp": 601_000, "CloudWatchMetrics": [
            {"Namespace": "Sluice", "Dimensions": [["StreamName"]], "Metrics": [{"Name": "LagOut"}, {"Name": "Wanted"}]}]},
        "StreamName": "s", "LagOut": [5, 7], "Wanted": 3,
    }  # fmt: skip
    assert [(metric[1], values) for metric, _, values in emf_points(json.dumps(emf))] == [("LagOut", [5, 7]), ("Wanted", [3])]
    assert list(emf_points("not JSON")) == []


def test_the_dashboard_counts_by_event_time() -> None:
    def line(at_s: int, **values: object) -> dict[str, object]:
        return {"_aws": {"Timestamp": at_s * 1000}, **values}

    lines = [
        line(60, EventTimeIn=100, EventTimeDelivered=90, EventTimeDeadLettered=10),
        line(60, EventTimeIn=10, EventTimeDelivered=10),
        line(120, EventTimeIn=50, EventTimeDelivered=48, EventTimeFiltered=1),
        line(61, EventsIn=100, LagOut=[1, 2, 3, 100]),
        line(62, EventsIn=10, LagOut=[4]),
        line(65, EventsIn=10, LagOut=[7]),
    ]
    minutes = dashboard.minutes(lines)
    assert [(minute.epoch_s, minute.came_in, minute.fates) for minute in minutes] == [
        (60, 110, (100, 0, 10, 0)),
        (120, 50, (48, 1, 0, 0)),
    ]
    assert [round(minute.loss_percent, 6) for minute in minutes] == [0, 2]
    assert dashboard.percentiles(lines, "LagOut", (50, 99), 3) == [(60, [3, 100]), (63, [7, 7])]


def test_every_limit_of_the_functions_is_known_here_and_none_has_another_number_of_the_same_name() -> None:
    assert len(limits.CONSTANTS) == limits.SOURCE.read_text().count("pub const ")
    assert (limits.PUT_UNIT_BYTES, limits.STREAM_BYTES_PER_SECOND_MAX) == (25_000, 10_000 * 1_000_000)
    own = re.compile(rf"^({'|'.join(limits.CONSTANTS)})\b.*=", re.MULTILINE)
    python = [*(ROOT / "infra").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    assert not {path.name: found for path in python if (found := own.findall(path.read_text()))}

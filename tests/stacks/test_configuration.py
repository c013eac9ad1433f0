"""A missing or malformed variable: init fails and names every one, with its value and the form it needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cfnlint.decode import cfn_yaml
from stack import LOG_PROCESSING

GOOD = {
    "STREAM_NAME": "logs",
    "TRANSFORM": "envelope",
    "RECORD_FORMAT": "kpl",
    "RECORD_BYTES_TARGET": "24900",
    "MAX_RECORD_KIB": "1024",
    "PARTITION_BY": "even",
    "CONCURRENCY_PER_SHARD": "1",
    "PUT_ATTEMPTS_MAX": "10",
}
# What Lambda itself sets. Nothing listens at the runtime's address: a good configuration would fail there, later.
STANDARD = {
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/sluice/f",
    "AWS_LAMBDA_LOG_STREAM_NAME": "s",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}


GOOD_REPLAYER = {
    "DEAD_LETTER_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters",
    "QUARANTINE_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/quarantine",
    "PROCESSOR_FUNCTION": "sluice-log-processor",
    "PROCESSOR_TIMEOUT_SECONDS": "60",
    "REPLAY_ATTEMPTS_MAX": "5",
    "REPLAY_PARALLELISM": "0",
    "REPLAY_HOPS_MAX": "16",
}


def start(binary: Path, variables: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run([binary], env={**STANDARD, **variables}, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_every_missing_variable_is_named_at_once(function_binary: Path) -> None:
    code, said = start(function_binary, {})
    assert code != 0
    assert [name for name in GOOD if name not in said] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"RECORD_FORMAT": "avro", "TRANSFORM": "upper"},
        {"RECORD_BYTES_TARGET": "25 KB", "PARTITION_BY": "random", "PUT_ATTEMPTS_MAX": "-1"},
        {"CONCURRENCY_PER_SHARD": "11", "RECORD_BYTES_TARGET": "0"},
    ],
)
def test_every_malformed_variable_is_named_with_its_value(function_binary: Path, wrong: dict[str, str]) -> None:
    code, said = start(function_binary, {**GOOD, **wrong})
    assert code != 0
    for name, value in wrong.items():
        assert name in said and value in said
    assert [name for name in GOOD if name not in wrong and name in said] == []


def test_the_replayer_names_every_missing_variable_at_once(functions: dict[str, Path]) -> None:
    code, said = start(functions["dlq-replayer"], {})
    assert code != 0
    assert [name for name in GOOD_REPLAYER if name not in said] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"DEAD_LETTER_QUEUE_URL": "dead-letters", "REPLAY_ATTEMPTS_MAX": "0"},
        {"REPLAY_PARALLELISM": "half", "REPLAY_HOPS_MAX": "1001", "PROCESSOR_TIMEOUT_SECONDS": "901"},
    ],
)
def test_the_replayer_names_every_malformed_variable_with_its_value(functions: dict[str, Path], wrong: dict[str, str]) -> None:
    code, said = start(functions["dlq-replayer"], {**GOOD_REPLAYER, **wrong})
    assert code != 0
    for name, value in wrong.items():
        assert name in said and value in said
    assert [name for name in GOOD_REPLAYER if name not in wrong and name in said] == []


def test_the_template_gives_each_function_what_it_reads() -> None:
    resources = cfn_yaml.load(str(LOG_PROCESSING))["Resources"]
    for resource, known, optional in (
        ("Processor", GOOD, {"DEAD_LETTER_QUEUE_URL", "QUARANTINE_QUEUE_URL"}),
        ("Replayer", GOOD_REPLAYER, set()),
    ):
        variables = set(resources[resource]["Properties"]["Environment"]["Variables"])
        # The SDK reads that one.
        assert variables == set(known) | optional | {"AWS_USE_FIPS_ENDPOINT"}, resource

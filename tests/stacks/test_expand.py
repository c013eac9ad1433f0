"""The templates without a transform: the same stacks, for where transforms are refused."""

from __future__ import annotations

import functools
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import engines as local
import pytest
import stack
from botocore.exceptions import ClientError
from stack import AUTOSCALING, LOG_PROCESSING

SENT = {"autoscaling": AUTOSCALING, "log-processing": LOG_PROCESSING}
LISTS = {"autoscaling": {"ProcessorFunctions": "sluice-a,sluice-b=0.5"}, "log-processing": {"LogGroupNames": "/app/web,/app/api-1"}}


_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    return f"expanded-{next(_numbers)}"


def expand(template: str, parameters: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    text = " ".join(f"{name}={value}" for name, value in parameters.items())
    return local.make(f"template-{template}", f"PARAMETERS={text}")


@pytest.fixture
def expanded(tmp_path: Path) -> Callable[..., Path]:
    def made(template: str, parameters: Mapping[str, str] | None = None) -> Path:
        done = expand(template, LISTS[template] if parameters is None else parameters)
        assert done.returncode == 0, done.stderr
        path = tmp_path / f"{template}.json"
        path.write_text(done.stdout)
        return path

    return made


def keys(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from keys(value)


@pytest.mark.parametrize(
    ("template", "parameters"),
    [("autoscaling", None), ("autoscaling", {"ProcessorFunctions": ""}), ("log-processing", None)],
    ids=["some functions", "no function", "some log groups"],
)
def test_an_expansion_is_a_plain_template(template: str, parameters: dict[str, str] | None, expanded: Callable[..., Path]) -> None:
    path = expanded(template, parameters)
    document = json.loads(path.read_text())
    assert "Transform" not in document
    of_language = re.compile(r"Fn::(ForEach|Length|ToJsonString)")
    assert [key for key in keys(document) if of_language.match(key)] == []
    assert "&{" not in path.read_text()
    lint = subprocess.run([sys.executable, "-c", "from cfnlint.runner import main; main()", path], capture_output=True, text=True)
    assert (lint.returncode, lint.stdout) == (0, "")


def plain(node: Any) -> Any:
    """Two ways of writing the same: a Fn::Sub without a variable, and a fixed list."""
    if isinstance(node, dict):
        made = {name: plain(value) for name, value in node.items()}
        split = made.get("Fn::Split")
        if isinstance(split, list) and split[0] == "," and isinstance(split[1], dict):
            return split[1]
        text = made.get("Fn::Sub")
        return text if isinstance(text, str) and "${" not in text else made
    return [plain(value) for value in node] if isinstance(node, list) else node


@pytest.mark.parametrize("template", LISTS)
def test_an_expansion_is_what_the_engine_makes_of_the_original(
    engines: local.Engines, template: str, expanded: Callable[..., Path], name: str
) -> None:
    """Resource for resource, from CloudFormation's own answer of what its transform made."""
    code = {"CodeS3Bucket": stack.code_bucket(engines)}
    keys = {"log-processing": {"CodeS3Key": "none.zip"}, "autoscaling": {}}[template]
    cloudformation, s3 = engines.client("cloudformation"), engines.client("s3")
    s3.put_object(Bucket=stack.CODE_BUCKET, Key=f"{name}.yaml", Body=SENT[template].read_bytes())
    parameters = {**LISTS[template], **({} if template == "autoscaling" else code), **keys}
    cloudformation.create_change_set(
        StackName=name, ChangeSetName="look", ChangeSetType="CREATE",
        TemplateURL=f"{engines.endpoint}/{stack.CODE_BUCKET}/{name}.yaml",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )  # fmt: skip
    cloudformation.get_waiter("change_set_create_complete").wait(StackName=name, ChangeSetName="look", WaiterConfig={"Delay": 1})
    answer = cloudformation.get_template(StackName=name, ChangeSetName="look", TemplateStage="Processed")["TemplateBody"]
    made = json.loads(answer) if isinstance(answer, str) else answer
    cloudformation.delete_stack(StackName=name)
    ours = json.loads(expanded(template).read_text())["Resources"]
    assert set(ours) == set(made["Resources"])
    for logical_id, resource in made["Resources"].items():
        assert plain(json.loads(json.dumps(ours[logical_id]))) == plain(json.loads(json.dumps(resource))), logical_id


def test_an_expansion_launches_and_takes_no_other_list(engines: local.Engines, expanded: Callable[..., Path], name: str) -> None:
    path = expanded("autoscaling")
    sent = path.with_name("sent.json")
    sent.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")))
    code = {"CodeS3Bucket": stack.code_bucket(engines), "CodeS3KeyScaleUp": "up.zip", "CodeS3KeyScaleDown": "down.zip"}
    for key in ("up.zip", "down.zip"):
        engines.client("s3").put_object(Bucket=stack.CODE_BUCKET, Key=key, Body=b"")
    made = stack.deploy(engines, sent, name, {"StreamName": name, **code})
    variables = engines.client("lambda").get_function_configuration(FunctionName=made["ScaleUpFunctionName"])["Environment"]["Variables"]
    assert variables["PROCESSOR_FUNCTIONS"] == LISTS["autoscaling"]["ProcessorFunctions"]
    # As in a console or a pipeline that uses the existing template: everything else changes, the list does not.
    cloudformation = engines.client("cloudformation")
    kept = [{"ParameterKey": key, "UsePreviousValue": True} for key in ("StreamName", *code)]
    update = functools.partial(cloudformation.update_stack, StackName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"])
    with pytest.raises(ClientError, match="ProcessorFunctions"):
        update(Parameters=[*kept, {"ParameterKey": "ProcessorFunctions", "ParameterValue": "sluice-a"}])
    update(Parameters=[*kept, {"ParameterKey": "ShardCountMin", "ParameterValue": "2"}])
    cloudformation.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    variables = engines.client("lambda").get_function_configuration(FunctionName=made["ScaleUpFunctionName"])["Environment"]["Variables"]
    assert variables["SHARD_COUNT_MIN"] == "2"


@pytest.mark.parametrize(
    ("template", "parameters", "told"),
    [
        ("log-processing", {}, "Name the log groups"),
        ("log-processing", {"LogGroupNames": ""}, "Name the log groups"),
        ("log-processing", {"FilterPattern": '"LogGroupNames=/a"'}, "Name the log groups"),
        ("log-processing", {"LogGroupNames": "/a/b,/ab"}, "two values lead to one resource Subscriptionab"),
        ("log-processing", {"LogGroupNames": "/" + "a" * 250}, "CloudFormation takes 255"),
        ("autoscaling", {"ProcessorFunction": "a"}, "did you mean ProcessorFunctions?"),
    ],
)
def test_what_cannot_be_expanded_is_said_in_one_line(template: str, parameters: dict[str, str], told: str) -> None:
    done = expand(template, parameters)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr

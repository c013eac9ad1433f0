"""One template launches in every account and region, under every name that CloudFormation takes: what a stack will be called
is worked out for each resource and held against AWS's limits.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest
from engines import ROOT

sys.path.insert(0, str(ROOT / "infra"))
import preflight
from template import Resource, Template

TEMPLATES = ("archive", "autoscaling", "log-processing", "overview", "stream-replay")
# With everything in it that is optional.
EVERYTHING: Mapping[str, Mapping[str, str]] = {
    "archive": {"CodeS3Key": "a.zip"},
    "autoscaling": {
        "CodeS3KeyScaleUp": "u.zip", "CodeS3KeyScaleDown": "d.zip", "FastAlarm": "true",
        "Floor1Schedule": "cron(0 1 * * ? *)", "Floor2Schedule": "cron(0 2 * * ? *)",
    },
    "log-processing": {"CodeS3Key": "p.zip", "CodeS3KeyDlqReplayer": "r.zip", "LogGroupNames": "/app/web"},
    "overview": {},
    "stream-replay": {"CodeS3Key": "s.zip", "TargetFunctionArns": "arn:aws:lambda:eu-west-1:111122223333:function:f"},
}  # fmt: skip
# What is one list for all regions of an account; buckets, of all accounts.
GLOBAL = {
    "AWS::CloudWatch::Dashboard": "DashboardName", "AWS::IAM::Role": "RoleName", "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::S3::Bucket": "BucketName",
}  # fmt: skip


def resources(template: str, stack: str, region: str = "eu-west-1", **parameters: str) -> list[Resource]:
    pseudo = {"AWS::StackName": stack, "AWS::Region": region, "AWS::AccountId": "111122223333", "AWS::Partition": "aws"}
    read = Template.of(template)
    given = {**EVERYTHING[template], **parameters}
    return read.resources({**code(template), **given}, pseudo)


def code(template: str) -> dict[str, str]:
    return {"CodeS3Bucket": "artifacts"} if template != "overview" else {}


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_same_stack_name_launches_in_two_regions(template: str) -> None:
    def names(region: str) -> set[tuple[str, str]]:
        made = resources(template, "sluice", region)
        assert [one for one in made if one.type == "AWS::CloudWatch::Dashboard"]
        return {(one.type, name) for one in made if one.type in GLOBAL and (name := one.name(GLOBAL[one.type])) is not None}

    assert not names("eu-west-1") & names("us-east-1")


# An instance of a StackSet is called StackSet-<name>-<uuid>, and a nested stack by its parent, its logical ID and 13 characters.
LONGEST_NAME = "S" + "t" * (preflight.STACK_NAME_MAX - 1)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_name_fits_under_the_longest_stack_name(template: str) -> None:
    """With the prefix as long as the template takes it."""
    prefix = {"NamePrefix": "p" * 51} if "NamePrefix" in Template.of(template).parameters else {}
    assert Template.of(template).problems({**EVERYTHING[template], **prefix, **code(template)}) == []
    names = [
        (kind.noun, name, kind.characters_max)
        for one in resources(template, LONGEST_NAME, **prefix)
        if (kind := preflight.KINDS.get(one.type)) and (name := one.name(kind.member)) is not None
    ]
    assert names
    assert [one for one in names if len(one[1]) > one[2]] == []


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_name_that_a_resource_is_given_is_one_that_is_measured(template: str) -> None:
    """CloudFormation invents the others, and keeps to the limits."""
    given = {
        (one.type, member)
        for one in resources(template, "s")
        for member in one.properties
        if member == "Name" or member in {f"{one.type.rsplit('::', 1)[-1]}Name", "FunctionName", "DeliveryStreamName"}
    }
    # These name the function that they are of.
    of_another = {"AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::EventSourceMapping"}
    # A name within its role or log group.
    within = {"AWS::IAM::Policy", "AWS::Logs::LogStream", "AWS::Logs::SubscriptionFilter"}
    assert {one for one in given if one[0] not in of_another | within} <= {(name, kind.member) for name, kind in preflight.KINDS.items()}


@pytest.mark.parametrize("template", ["autoscaling", "log-processing"])
def test_a_prefix_names_functions_and_schedules_and_nothing_refers_to_the_old_names(template: str) -> None:
    named = [
        one
        for one in resources(template, "long-stack", NamePrefix="short")
        if one.type in ("AWS::Lambda::Function", "AWS::Scheduler::Schedule")
    ]
    names = [str(one.name("FunctionName") or one.name("Name")) for one in named if one.logical_id != "Processor"]
    assert names
    assert all(name.startswith("short-") for name in names), names
    text = str([one.properties for one in resources(template, "long-stack", NamePrefix="short", VpcSubnetIds="subnet-12345678")])
    assert [name for name in names if f"function:{name.replace('short-', 'long-stack-')}" in text] == []
    assert '"FunctionName", "long-stack-' not in text

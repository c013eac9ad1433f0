"""One template launches in every account and region, under every name that CloudFormation takes: what a stack will be called
is worked out for each resource and held against AWS's limits.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest
from engines import ROOT

sys.path.insert(0, str(ROOT / "infra"))
import preflight  # noqa: E402
from template import Resource, Template  # noqa: E402

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
    return read.resources({**({"CodeS3Bucket": "b"} if "CodeS3Bucket" in read.parameters else {}), **given}, pseudo)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_same_stack_name_launches_in_two_regions(template: str) -> None:
    def names(region: str) -> set[tuple[str, str]]:
        made = resources(template, "sluice", region)
        assert [one for one in made if one.type == "AWS::CloudWatch::Dashboard"]
        return {(one.type, name) for one in made if one.type in GLOBAL and (name := one.name(GLOBAL[one.type])) is not None}

    assert not names("eu-west-1") & names("us-east-1")

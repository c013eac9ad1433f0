#!/usr/bin/env python3
"""Looks, before anything is created, for what would make a launch fail or misbehave in this account and region.

`make preflight` and every `make deploy-…` run this. It only reads (its one write, which proves that the bucket can be
written to, is an upload that it aborts). Each finding says what to do. What it may not look at, it says too.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from typing import Any

import boto3
import botocore.exceptions as failures
from botocore.config import Config
from limits import SHARD_BYTES_PER_SECOND, UNRESERVED_CONCURRENCY_MIN
from template import STACKS, Resource, Template

STOPS, WARNS = "stops", "warns"
LAMBDA_CONCURRENCY_QUOTA = "L-B99A9384"
# (CloudWatch Logs quotas, read November 2026)
FILTERS_A_GROUP_MAX = 2
# Per region, adjustable. (CloudWatch quotas, read November 2026)
ALARMS_DEFAULT_MAX = 5_000
# (CloudFormation quotas, read November 2026)
RESOURCES_MAX, STACK_NAME_MAX = 500, 128
# Direct PUT, MiB a second, adjustable. (Firehose quotas, read November 2026)
FIREHOSE_MIB = {"us-east-1": 5, "us-west-2": 5, "eu-west-1": 5}
FIREHOSE_MIB_ELSEWHERE = 1
# Seconds after which NAT gateways and interface endpoints drop an idle connection. (VPC user guide, "NAT gateways"; AWS
# PrivateLink guide, "Access an AWS service using an interface VPC endpoint", read November 2026)
IDLE_SECONDS = 350
DENIED = {
    "AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "NotAuthorized",
    "UnauthorizedOperation", "Forbidden",
}  # fmt: skip
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
INVALID = {
    "AuthFailure", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignatureException",
    "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
MISSING = {
    "404", "NoSuchBucket", "NoSuchEntity", "NotFound", "NotFoundException", "ParameterNotFound", "ResourceNotFound",
    "ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "DashboardNotFoundError",
}  # fmt: skip
# Where the permission is not called as the operation.
PERMISSIONS = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:GetBucketLocation": "s3:GetBucketLocation",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "kms:GenerateDataKey": "kms:GenerateDataKey",
}
SERVICE_NAMES = {
    "cloudformation": "CloudFormation", "cloudwatch": "CloudWatch", "firehose": "Firehose", "kinesis": "Kinesis",
    "kms": "KMS", "lambda": "Lambda", "logs": "CloudWatch Logs", "s3": "S3", "scheduler": "EventBridge Scheduler",
    "sns": "SNS", "sqs": "SQS", "sts": "STS",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it."""

    severity: str
    code: str
    # The stack's name; empty for the account as a whole.
    stack: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Launch:
    """A stack that is to be created or updated."""

    # One of STACKS.
    stack: str
    name: str
    parameters: Mapping[str, str]


class Denied(Exception):
    """The caller lacks a permission; its name."""


class Absent(Exception):
    """AWS does not know it."""


class NoService(Exception):
    """The region has no endpoint of the service; the service."""


class Refused(Exception):
    """AWS refused a look for a reason of its own; its words."""


class Account:
    """The account and region, looked at. `client` makes the client of a service."""

    def __init__(self, client: Callable[[str], Any], region: str) -> None:
        self._client = cache(client)
        self.region = region

    def call(self, service: str, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client(service), operation)(**arguments)
        except failures.ClientError as error:
            raise self._meaning(service, error) from error
        except (failures.EndpointConnectionError, failures.ConnectTimeoutError) as error:
            raise NoService(service) from error
        except failures.BotoCoreError as error:
            raise Refused(str(error)) from error

    def pages(self, service: str, operation: str, member: str, **arguments: Any) -> Iterator[Any]:
        """Every item, page by page."""
        token: dict[str, Any] = {}
        while True:
            answer = self.call(service, operation, **arguments, **token)
            yield from answer.get(member, [])
            for name in ("NextToken", "nextToken"):
                if answer.get(name):
                    token = {name: answer[name]}
                    break
            else:
                return

    @staticmethod
    def _meaning(service: str, error: failures.ClientError) -> Exception:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in DENIED or (code == "403" and status == 403):
            asked = f"{service}:{error.operation_name}"
            return Denied(PERMISSIONS.get(asked, asked))
        message = error.response.get("Error", {}).get("Message", "")
        if code in MISSING or (service == "cloudformation" and "does not exist" in message):
            return Absent(message)
        return Refused(f"{code}: {message}")


@dataclass
class Planned:
    """A launch, and what its stack will consist of."""

    launch: Launch
    template: Template
    values: dict[str, str]
    resources: list[Resource]
    # Physical IDs that the stack owns already.
    owned: set[str] = field(default_factory=set)
    exists: bool = False

    def of(self, kind: str) -> list[Resource]:
        return [resource for resource in self.resources if resource.type == kind]

    def number(self, name: str, otherwise: int = 0) -> int:
        try:
            return int(self.values[name])
        except (KeyError, ValueError):
            return otherwise


@dataclass(frozen=True)
class Kind:
    """A resource type whose physical name is known beforehand."""

    noun: str
    member: str
    characters_max: int
    service: str
    operation: str
    argument: str
    delete: str


KINDS = {
    "AWS::Lambda::Function": Kind(
        "function", "FunctionName", 64, "lambda", "get_function_configuration", "FunctionName",
        "aws lambda delete-function --function-name {}",
    ),
    "AWS::Scheduler::Schedule": Kind(
        "schedule", "Name", 64, "scheduler", "get_schedule", "Name", "aws scheduler delete-schedule --name {}"
    ),
    "AWS::Kinesis::Stream": Kind(
        "stream", "Name", 128, "kinesis", "describe_stream_summary", "StreamName",
        "launch with ExistingStreamName={} to keep what is in it, or: aws kinesis delete-stream --stream-name {}",
    ),
    "AWS::SQS::Queue": Kind(
        "queue", "QueueName", 80, "sqs", "get_queue_url", "QueueName",
        'aws sqs delete-queue --queue-url "$(aws sqs get-queue-url --queue-name {} --query QueueUrl --output text)"',
    ),
    "AWS::S3::Bucket": Kind("bucket", "BucketName", 63, "s3", "head_bucket", "Bucket", "aws s3 rb s3://{}"),
    "AWS::CloudWatch::Dashboard": Kind(
        "dashboard", "DashboardName", 255, "cloudwatch", "get_dashboard", "DashboardName",
        "aws cloudwatch delete-dashboards --dashboard-names {}",
    ),
    "AWS::CloudWatch::Alarm": Kind("alarm", "AlarmName", 255, "", "", "", "aws cloudwatch delete-alarms --alarm-names {}"),
    "AWS::Logs::LogGroup": Kind(
        "log group", "LogGroupName", 512, "", "", "", "aws logs delete-log-group --log-group-name {}"
    ),
    "AWS::IAM::Role": Kind("role", "RoleName", 64, "iam", "get_role", "RoleName", "aws iam delete-role --role-name {}"),
    "AWS::KinesisFirehose::DeliveryStream": Kind(
        "Firehose", "DeliveryStreamName", 64, "firehose", "describe_delivery_stream", "DeliveryStreamName",
        "aws firehose delete-delivery-stream --delivery-stream-name {}",
    ),
    "AWS::SSM::Parameter": Kind(
        "SSM parameter", "Name", 1011, "ssm", "get_parameter", "Name", "aws ssm delete-parameter --name {}"
    ),
}  # fmt: skip


class Preflight:
    """All checks of one run."""

    def __init__(self, account: Account, launches: Sequence[Launch], bucket: str | None = None) -> None:
        self.account = account
        self.bucket = bucket
        self.identity: dict[str, str] = {}
        self._launches = launches
        self._planned: list[Planned] = []
        # Permission → what could not be looked at without it.
        self._denied: dict[str, list[str]] = {}

    @property
    def region(self) -> str:
        return self.account.region

    def run(self) -> list[Finding]:
        """Every finding, what stops first."""
        found = list(self._identify())
        if not found:
            found += self._plan()
            checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
                ("the quota of concurrent executions", self._concurrency),
                ("the quota of shards", self._shards),
                ("the quota of alarms", self._alarms),
                ("the streams", self._streams),
                ("the quota of Firehose", self._firehose),
                (f"the bucket {self.bucket}", self._code_bucket),
                *[(f"the KMS key {key}", lambda one=(p, name, key): self._key(*one)) for p, name, key in self._keys()],
                ("the timeouts in a VPC", self._idle_connections),
                *[(f"the topic {topic}", lambda one=(p, topic): self._topic(*one)) for p, topic in self._topics()],
                *[
                    (f"the log group {name}", lambda one=(planned, resource): self._log_group(*one))
                    for planned in self._planned
                    for resource in planned.of("AWS::Logs::SubscriptionFilter")
                    if (name := resource.name("LogGroupName"))
                ],
                *[
                    (f"whether {kind.noun} {name} is free", lambda one=(planned, kind, name): self._taken(*one))
                    for planned, kind, name in self._names()
                    if kind.service and name not in planned.owned
                ],
                ("whether the alarms' names are free", self._alarm_names),
                *[
                    (f"whether log group {name} is free", lambda one=(planned, name): self._log_group_taken(*one))
                    for planned, kind, name in self._names()
                    if kind.noun == "log group" and name not in planned.owned
                ],
            ]
            with ThreadPoolExecutor(12) as pool:
                for (what, _), looked in zip(checks, pool.map(lambda check: self._looked(*check), checks)):
                    found += self._noted(what, *looked)
            found += self._not_allowed()
        unique = list(dict.fromkeys(found))
        return sorted(unique, key=lambda finding: (finding.severity != STOPS, finding.stack, finding.code))

    def _noted(self, what: str, found: list[Finding], missing: str) -> list[Finding]:
        """What a check found; the permission that it lacks is told once for all checks."""
        if missing:
            self._denied.setdefault(missing, []).append(what)
        return found

    def _looked(self, what: str, check: Callable[[], Iterable[Finding]]) -> tuple[list[Finding], str]:
        """A check's findings, that it could not look being one, too; and the permission that it lacks, or nothing."""
        found: list[Finding] = []
        missing = ""
        try:
            found.extend(check())
        except Denied as denied:
            missing = str(denied)
        except NoService as service:
            name = SERVICE_NAMES.get(str(service), str(service))
            found.append(
                Finding(
                    STOPS, "region-lacks-service", "", f"{name} does not answer in {self.region}: either the region has no {name}, or your network does not reach it",
                    "choose another region with AWS_DEFAULT_REGION, or open the way to its endpoint",
                )
            )  # fmt: skip
        except (Refused, Absent) as refused:
            found.append(Finding(WARNS, "not-checked", "", f"could not check {what}: {refused}", "run this again, or look yourself"))
        return found, missing

    def _not_allowed(self) -> Iterator[Finding]:
        for permission, what in sorted(self._denied.items()):
            more = f" and {len(what) - 3} more" if len(what) > 3 else ""
            yield Finding(
                WARNS, "not-checked", "", f"could not check {', '.join(what[:3])}{more}: needs permission {permission}",
                f"have {permission} allowed and run this again, or look yourself",
            )  # fmt: skip

    # Who, where

    def _identify(self) -> Iterator[Finding]:
        try:
            answer = self.account.call("sts", "get_caller_identity")
            self.identity = {name: answer[name] for name in ("Account", "Arn")}
            return
        except NoService:
            yield Finding(
                STOPS, "region-lacks-service", "", f"STS does not answer in {self.region}: there is no such region, or your network does not reach it",
                "choose a region with AWS_DEFAULT_REGION",
            )  # fmt: skip
        except (Denied, Absent):
            # Nobody can be denied this; a proxy can.
            yield Finding(STOPS, "credentials", "", "AWS does not say whose the credentials are", "aws sts get-caller-identity")
        except Refused as refused:
            code = str(refused).split(":", 1)[0]
            cause = refused.__cause__
            if isinstance(cause, (failures.NoCredentialsError, failures.PartialCredentialsError)):
                yield Finding(STOPS, "credentials", "", "there are no credentials", "aws configure, or aws sso login")
            elif code in EXPIRED or isinstance(
                cause, (failures.SSOTokenLoadError, failures.UnauthorizedSSOTokenError, failures.TokenRetrievalError)
            ):
                yield Finding(STOPS, "credentials-expired", "", "the credentials have expired", "aws sso login, or fetch new ones")
            elif code in {"RegionDisabledException", *INVALID} and self._is_disabled():
                yield Finding(
                    STOPS, "region-disabled", "", f"the region {self.region} is not enabled in this account",
                    f"aws account enable-region --region-name {self.region}, and wait until it says ENABLED",
                )  # fmt: skip
            elif code in INVALID:
                yield Finding(STOPS, "credentials", "", f"AWS does not take the credentials ({code})", "aws configure, or aws sso login")
            else:
                yield Finding(
                    STOPS, "credentials", "", f"cannot ask AWS whose the credentials are: {refused}", "aws sts get-caller-identity"
                )

    def _is_disabled(self) -> bool:
        try:
            answer = self.account.call("account", "get_region_opt_status", RegionName=self.region)
        except (Denied, Absent, NoService, Refused):
            return False
        return answer.get("RegionOptStatus") in ("DISABLED", "DISABLING", "ENABLING")

    # What is to be there

    def _plan(self) -> list[Finding]:
        found: list[Finding] = []
        by_name: dict[tuple[str, str], str] = {}
        for launch in self._launches:
            template = Template.of(launch.stack)
            for name, problem in template.problems(launch.parameters):
                near = difflib.get_close_matches(name, template.parameters, 1)
                known = name in template.parameters
                remedy = (
                    f'give it as PARAMETERS="{name}=…"'
                    if known
                    else f"did you mean {near[0]}?"
                    if near
                    else f"see infra/{launch.stack}.yaml"
                )
                found.append(Finding(STOPS, "parameter", launch.name, f"{name}: {problem}", remedy))
            if not re.fullmatch(rf"[a-zA-Z][a-zA-Z0-9-]{{0,{STACK_NAME_MAX - 1}}}", launch.name):
                found.append(
                    Finding(
                        STOPS, "stack-name", launch.name, f"a stack's name is a letter and up to {STACK_NAME_MAX - 1} letters, digits and hyphens",
                        "choose another name",
                    )
                )  # fmt: skip
                continue
            pseudo = {
                "AWS::StackName": launch.name,
                "AWS::Region": self.region,
                "AWS::AccountId": self.identity["Account"],
                "AWS::Partition": self.identity["Arn"].split(":")[1],
            }
            planned = Planned(launch, template, template.values(launch.parameters), template.resources(launch.parameters, pseudo))
            self._planned.append(planned)
            what = f"the stack {launch.name}"
            found += self._noted(what, *self._looked(what, partial(self._state, planned)))
            if len(planned.resources) > RESOURCES_MAX:
                found.append(
                    Finding(
                        STOPS, "resources", launch.name, f"it would have {len(planned.resources):,} resources, and CloudFormation takes {RESOURCES_MAX}",
                        "launch a second stack for some of its log groups or functions",
                    )
                )  # fmt: skip
            for resource in planned.resources:
                kind = KINDS.get(resource.type)
                name = resource.name(kind.member) if kind else None
                if kind is None or name is None:
                    continue
                if len(name) > kind.characters_max:
                    prefix = "NamePrefix" in template.parameters and kind.characters_max == 64
                    shorter = f"choose a stack name that is {len(name) - kind.characters_max} characters shorter"
                    found.append(
                        Finding(
                            STOPS, "name-length", launch.name, f"the {kind.noun} would be called {name}, which has {len(name)} characters; AWS takes {kind.characters_max}",
                            'give a prefix of its own: PARAMETERS="NamePrefix=…"' if prefix else shorter,
                        )
                    )  # fmt: skip
                if (first := by_name.setdefault((resource.type, name), launch.name)) != launch.name:
                    found.append(
                        Finding(
                            STOPS, "name-twice", launch.name, f"{first} has a {kind.noun} {name} as well", "give one of them another name"
                        )
                    )
        return found

    def _state(self, planned: Planned) -> Iterator[Finding]:
        name = planned.launch.name
        try:
            stack = self.account.call("cloudformation", "describe_stacks", StackName=name)["Stacks"][0]
        except Absent:
            return
        status = stack["StackStatus"]
        planned.exists = status not in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE")
        if planned.exists:
            resources = self.account.pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=name)
            # A queue's is a URL, whose end is its name.
            planned.owned = {
                identity.rsplit("/", 1)[-1] if identity.startswith("http") else identity.split("|")[-1]
                for one in resources
                if (identity := one.get("PhysicalResourceId"))
            }
        remedies = {
            "ROLLBACK_COMPLETE": (
                "its first launch failed, and such a stack can only be deleted",
                f"aws cloudformation delete-stack --stack-name {name}",
            ),
            "ROLLBACK_FAILED": ("its first launch failed, and its roll-back too", f"aws cloudformation delete-stack --stack-name {name}"),
            "CREATE_FAILED": ("its first launch failed", f"aws cloudformation delete-stack --stack-name {name}"),
            "DELETE_FAILED": (
                "its deletion failed",
                f"aws cloudformation describe-stack-events --stack-name {name} says why; then delete it again",
            ),
            "UPDATE_ROLLBACK_FAILED": (
                "its last update failed, and the way back too",
                f"aws cloudformation continue-update-rollback --stack-name {name}",
            ),
        }
        if status in remedies:
            what, remedy = remedies[status]
            yield Finding(STOPS, "stack-state", name, f"the stack is {status}: {what}", remedy)
        elif status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            wait = (
                "stack-delete-complete"
                if status == "DELETE_IN_PROGRESS"
                else "stack-create-complete"
                if status == "CREATE_IN_PROGRESS"
                else "stack-update-complete"
            )
            yield Finding(
                STOPS,
                "stack-state",
                name,
                f"the stack is {status}: somebody is at it",
                f"aws cloudformation wait {wait} --stack-name {name}",
            )

    def _names(self) -> Iterator[tuple[Planned, Kind, str]]:
        for planned in self._planned:
            for resource in planned.resources:
                if (kind := KINDS.get(resource.type)) and (name := resource.name(kind.member)) and len(name) <= kind.characters_max:
                    yield planned, kind, name

    # Names

    def _taken(self, planned: Planned, kind: Kind, name: str) -> Iterator[Finding]:
        try:
            self.account.call(kind.service, kind.operation, **{kind.argument: name})
        except Absent:
            return
        except Denied:
            if kind.noun != "bucket":
                raise
        yield self._name_taken(planned, kind, name)

    def _name_taken(self, planned: Planned, kind: Kind, name: str) -> Finding:
        why = "; dashboards are one list for all regions of an account" if kind.noun == "dashboard" else ""
        return Finding(
            STOPS, "name-taken", planned.launch.name, f"there is a {kind.noun} {name} already that is not this stack's{why}",
            kind.delete.replace("{}", shlex.quote(name)) + ", or choose another name",
        )  # fmt: skip

    def _alarm_names(self) -> Iterator[Finding]:
        wanted = [(planned, kind, name) for planned, kind, name in self._names() if kind.noun == "alarm" and name not in planned.owned]
        for begin in range(0, len(wanted), 100):
            some = wanted[begin : begin + 100]
            answer = self.account.call("cloudwatch", "describe_alarms", AlarmNames=[name for _, _, name in some], MaxRecords=100)
            there = {alarm["AlarmName"] for alarm in [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]}
            for planned, kind, name in some:
                if name in there:
                    yield self._name_taken(planned, kind, name)

    def _group(self, name: str) -> dict[str, Any] | None:
        for group in self.account.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name):
            if group["logGroupName"] == name:
                return dict(group)
        return None

    def _log_group_taken(self, planned: Planned, name: str) -> Iterator[Finding]:
        if self._group(name):
            yield self._name_taken(planned, KINDS["AWS::Logs::LogGroup"], name)

    # Quotas

    def _concurrency(self) -> Iterator[Finding]:
        reserved = {
            str(function.name("FunctionName") or function.logical_id): int(function.properties["ReservedConcurrentExecutions"])
            for planned in self._planned
            for function in planned.of("AWS::Lambda::Function")
            if str(function.properties.get("ReservedConcurrentExecutions", "")).isdigit()
        }
        if not any(planned.of("AWS::Lambda::Function") for planned in self._planned):
            return
        limits = self.account.call("lambda", "get_account_settings")["AccountLimit"]
        quota, unreserved = limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]
        more = 0
        for name, count in reserved.items():
            try:
                has = self.account.call("lambda", "get_function_concurrency", FunctionName=name).get("ReservedConcurrentExecutions", 0)
            except Absent:
                has = 0
            more += max(0, count - has)
        stack = ", ".join(planned.launch.name for planned in self._planned if planned.of("AWS::Lambda::Function"))
        request = (
            f"aws service-quotas request-service-quota-increase --service-code lambda --quota-code {LAMBDA_CONCURRENCY_QUOTA} "
            f"--desired-value {max(1000, quota + more + UNRESERVED_CONCURRENCY_MIN)} --region {self.region}"
        )
        optional = all(
            "ReserveConcurrency" in planned.template.parameters for planned in self._planned if planned.of("AWS::Lambda::Function")
        )
        if more and unreserved - more < UNRESERVED_CONCURRENCY_MIN:
            yield Finding(
                STOPS, "lambda-concurrency", stack,
                f"{', '.join(f'{name} reserves {count}' for name, count in reserved.items())}: Lambda would refuse, since it keeps {UNRESERVED_CONCURRENCY_MIN} of the account's {quota:,} concurrent executions unreserved, and {unreserved:,} are",
                request + (', or launch with PARAMETERS="ReserveConcurrency=false"' if optional else ""),
            )  # fmt: skip
            return
        for planned in self._planned:
            followers = [one for one in planned.values.get("ProcessorFunctions", "").split(",") if one.strip()]
            shares = sum(float(one.partition("=")[2] or 1) for one in followers)
            most = math.ceil(planned.number("ShardCountMax") * planned.number("ConcurrencyPerShard", 1) * shares)
            if (
                planned.of("AWS::Lambda::Function")
                and followers
                and most > unreserved - more - UNRESERVED_CONCURRENCY_MIN + sum(reserved.values())
            ):
                yield Finding(
                    WARNS, "lambda-concurrency-at-peak", planned.launch.name,
                    f"at ShardCountMax={planned.number('ShardCountMax')} the processors may reserve {most:,}, and the account's quota of {quota:,} has room for fewer: shards would stand idle",
                    request,
                )  # fmt: skip

    def _shards(self) -> Iterator[Finding]:
        relevant = [planned for planned in self._planned if planned.launch.stack == "autoscaling"]
        if not relevant:
            return
        limits = self.account.call("kinesis", "describe_limits")
        limit, in_use = limits["ShardLimit"], limits["OpenShardCount"]
        for planned in relevant:
            stream = planned.values.get("ExistingStreamName") or planned.values.get("StreamName", "")
            own = self._open_shards(stream) if planned.exists or planned.values.get("ExistingStreamName") else 0
            others = in_use - own
            request = (
                f"aws service-quotas list-service-quotas --service-code kinesis --region {self.region} --query \"Quotas[?contains(QuotaName, 'hard')].[QuotaName,QuotaCode,Value]\" "
                "names the quota; aws service-quotas request-service-quota-increase raises it"
            )
            initial = planned.number("ShardCountInitial") if planned.of("AWS::Kinesis::Stream") else 0
            most = planned.number("ShardCountMax")
            if not planned.exists and others + initial > limit:
                yield Finding(
                    STOPS, "shards", planned.launch.name, f"ShardCountInitial={initial}, and {others:,} of the account's {limit:,} shards are open: the stream cannot be created", request
                )  # fmt: skip
            elif not planned.of("AWS::Lambda::Function"):
                continue
            elif others + most > limit:
                yield Finding(
                    WARNS, "shards", planned.launch.name, f"ShardCountMax={most:,}, and {others:,} of the account's {limit:,} shards are open: scaling ends at {limit - others:,}", f"lower ShardCountMax, or {request}"
                )  # fmt: skip
            elif others + 2 * most > limit:
                # A reshard to a count that is no doubling splits more than it keeps and merges again. AWS counts those too.
                yield Finding(
                    WARNS, "shards", planned.launch.name, f"ShardCountMax={most:,} fits the account's {limit:,} shards with {others:,} open, but AWS counts short-lived shards of a reshard, too, up to {2 * most:,}: the last steps may be refused", f"lower ShardCountMax, or {request}"
                )  # fmt: skip

    def _open_shards(self, stream: str) -> int:
        try:
            return int(
                self.account.call("kinesis", "describe_stream_summary", StreamName=stream)["StreamDescriptionSummary"]["OpenShardCount"]
            )
        except Absent:
            return 0

    def _alarms(self) -> Iterator[Finding]:
        owned = {name for planned in self._planned for name in planned.owned}
        planned = [alarm for each in self._planned for alarm in each.of("AWS::CloudWatch::Alarm")]
        new = sum(1 for alarm in planned if alarm.name("AlarmName") not in owned)
        if not planned:
            return
        there = sum(1 for _ in self.account.pages("cloudwatch", "describe_alarms", "MetricAlarms", MaxRecords=100))
        if there + new <= ALARMS_DEFAULT_MAX:
            return
        yield Finding(
            WARNS, "alarms", "", f"the stacks have {new} alarms and the account has {there:,}: AWS allows {ALARMS_DEFAULT_MAX:,} a region unless your quota was raised, and beyond it the launch fails",
            f'aws service-quotas list-service-quotas --service-code monitoring --region {self.region} --query "Quotas[?contains(QuotaName, \'larms\')]" says what yours is',
        )  # fmt: skip

    def _firehose(self) -> Iterator[Finding]:
        for planned in self._planned:
            firehoses = len(planned.of("AWS::KinesisFirehose::DeliveryStream"))
            if not firehoses:
                continue
            self.account.call("firehose", "list_delivery_streams", Limit=1)
            stream = planned.values.get("StreamName", "")
            scaled = [
                other
                for other in self._planned
                if other.values.get("ShardCountMax") and stream in (other.values.get("StreamName"), other.values.get("ExistingStreamName"))
            ]
            shards = max(
                [other.number("ShardCountMax") for other in scaled if other.of("AWS::Lambda::Function")]
                + [self._open_shards(stream)]
                + [other.number("ShardCountInitial") for other in scaled]
            )
            mib = FIREHOSE_MIB.get(self.region, FIREHOSE_MIB_ELSEWHERE) * firehoses
            if shards * SHARD_BYTES_PER_SECOND > mib * 2**20:
                yield Finding(
                    WARNS, "firehose", planned.launch.name,
                    f"{firehoses} Firehose{'s take' if firehoses > 1 else ' takes'} {mib} MiB/s in {self.region} unless the quota was raised, and {stream} may carry {shards} MB/s, more once its records are unpacked: the archive would fall behind, and what it has not read when retention ends is missing from it",
                    f"ask for more with the Firehose limits form (AWS support, service Data Firehose, Direct PUT throughput in {self.region}), and raise RetentionHours to 72 at least",
                )  # fmt: skip

    # Log groups, streams, bucket, keys

    def _log_group(self, planned: Planned, resource: Resource) -> Iterator[Finding]:
        name, stack = str(resource.name("LogGroupName")), planned.launch.name
        group = self._group(name)
        if group is None:
            yield Finding(
                STOPS,
                "log-group-missing",
                stack,
                f"the log group {name} does not exist",
                f"aws logs create-log-group --log-group-name {shlex.quote(name)}, or leave it out of LogGroupNames",
            )
            return
        if (kind := group.get("logGroupClass", "STANDARD")) != "STANDARD":
            yield Finding(
                STOPS, "log-group-class", stack, f"the log group {name} is of class {kind}, and only class STANDARD can be subscribed",
                "leave it out of LogGroupNames; AWS cannot change a log group's class, so write to a new one",
            )  # fmt: skip
            return
        filters = self.account.pages("logs", "describe_subscription_filters", "subscriptionFilters", logGroupName=name)
        others = [one["filterName"] for one in filters if one["filterName"] != resource.name("FilterName")]
        if len(others) >= FILTERS_A_GROUP_MAX:
            yield Finding(
                STOPS, "log-group-filters", stack, f"the log group {name} has {len(others)} subscription filters ({', '.join(others)}), which is all that AWS allows",
                f"aws logs delete-subscription-filter --log-group-name {shlex.quote(name)} --filter-name {shlex.quote(others[-1])}, if nobody needs it",
            )  # fmt: skip

    def _streams(self) -> Iterator[Finding]:
        created = {stream.name("Name") for planned in self._planned for stream in planned.of("AWS::Kinesis::Stream")}
        for planned in self._planned:
            stack = planned.launch.name
            own = planned.launch.stack == "autoscaling"
            stream = planned.values.get("ExistingStreamName" if own else "StreamName", "")
            if not stream or (not own and stream in created):
                continue
            try:
                summary = self.account.call("kinesis", "describe_stream_summary", StreamName=stream)["StreamDescriptionSummary"]
            except Absent:
                # A mapping needs its stream, scaling too; the others launch, and fail at work.
                severity = STOPS if own or planned.of("AWS::Lambda::EventSourceMapping") else WARNS
                yield Finding(
                    severity,
                    "stream-missing",
                    stack,
                    f"there is no stream {stream} in {self.region}",
                    f'make deploy-autoscaling PARAMETERS="StreamName={stream}", or correct the name',
                )
                continue
            if own and summary.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND":
                yield Finding(
                    STOPS, "stream-on-demand", stack, f"the stream {stream} is on demand: AWS scales it, and refuses whoever else does",
                    f"aws kinesis update-stream-mode --stream-arn {summary['StreamARN']} --stream-mode-details StreamMode=PROVISIONED",
                )  # fmt: skip
            key = summary.get("KeyId") or ""
            if not own and key and not key.endswith("alias/aws/kinesis") and not planned.values.get("StreamKmsKeyArn"):
                metadata = self.account.call("kms", "describe_key", KeyId=key)["KeyMetadata"]
                if metadata.get("KeyManager") == "CUSTOMER":
                    yield Finding(
                        STOPS, "stream-key", stack, f"the stream {stream} is encrypted with a key of yours, and StreamKmsKeyArn is empty: the function could not use the stream",
                        f'launch with PARAMETERS="StreamKmsKeyArn={metadata["Arn"]}"',
                    )  # fmt: skip

    def _code_bucket(self) -> Iterator[Finding]:
        given = [(planned, planned.values["ExistingBucketName"]) for planned in self._planned if planned.values.get("ExistingBucketName")]
        for planned, bucket in given:
            yield from self._bucket_found(planned.launch.name, bucket)
        if not self.bucket:
            return
        trouble = list(self._bucket_found("", self.bucket))
        yield from trouble
        if trouble:
            return
        try:
            upload = self.account.call("s3", "create_multipart_upload", Bucket=self.bucket, Key="sluice/preflight")
            self.account.call("s3", "abort_multipart_upload", Bucket=self.bucket, Key="sluice/preflight", UploadId=upload["UploadId"])
        except Denied as denied:
            yield Finding(
                STOPS,
                "bucket-not-writable",
                "",
                f"you may not write to the bucket {self.bucket}: needs permission {denied} on it",
                "have it allowed, or take a bucket of your own",
            )

    def _bucket_found(self, stack: str, bucket: str) -> Iterator[Finding]:
        try:
            answer = self.account.call("s3", "head_bucket", Bucket=bucket)
        except Absent:
            yield Finding(STOPS, "bucket-missing", stack, f"there is no bucket {bucket}", f"aws s3 mb s3://{bucket} --region {self.region}")
            return
        except Denied:
            yield Finding(
                STOPS,
                "bucket-not-yours",
                stack,
                f"the bucket {bucket} is not yours, or you may not look at it (s3:ListBucket)",
                "choose another name, or have it allowed",
            )
            return
        except Refused as refused:
            # A bucket of another region answers with its region in a header.
            response = getattr(refused.__cause__, "response", {})
            region = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
            if not region:
                raise
        else:
            region = answer.get("BucketRegion") or answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        if region and region != self.region:
            yield Finding(
                STOPS, "bucket-region", stack, f"the bucket {bucket} is in {region}, and Lambda takes code from a bucket in {self.region} only",
                f"aws s3 mb s3://{bucket}-{self.region} --region {self.region}, and use that",
            )  # fmt: skip

    def _keys(self) -> Iterator[tuple[Planned, str, str]]:
        for planned in self._planned:
            for name, value in planned.values.items():
                if "KmsKey" in name and value and "alias/aws/" not in value:
                    yield planned, name, value

    def _key(self, planned: Planned, parameter: str, key: str) -> Iterator[Finding]:
        stack = planned.launch.name
        try:
            metadata = self.account.call("kms", "describe_key", KeyId=key)["KeyMetadata"]
        except Absent:
            yield Finding(
                STOPS,
                "kms-missing",
                stack,
                f"{parameter}: there is no KMS key {key} in {self.region}",
                "aws kms list-aliases shows those that are there",
            )
            return
        if metadata["KeyState"] != "Enabled":
            remedy = (
                f"aws kms cancel-key-deletion --key-id {metadata['KeyId']}, then enable-key"
                if metadata["KeyState"] == "PendingDeletion"
                else f"aws kms enable-key --key-id {metadata['KeyId']}"
            )
            yield Finding(STOPS, "kms-state", stack, f"{parameter}: the KMS key {key} is {metadata['KeyState']}", remedy)
        elif (
            metadata.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT"
            or metadata.get("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT"
        ):
            yield Finding(
                STOPS,
                "kms-kind",
                stack,
                f"{parameter}: the KMS key {key} is not a symmetric key for encryption",
                "aws kms create-key makes one",
            )

    def _idle_connections(self) -> Iterator[Finding]:
        for planned in self._planned:
            for name in ("TimeoutSeconds", "TargetTimeoutSeconds"):
                seconds = planned.number(name)
                # The archiver invokes nothing.
                if (
                    planned.values.get("VpcSubnetIds")
                    and planned.of("AWS::Lambda::Function")
                    and seconds >= IDLE_SECONDS
                    and planned.launch.stack != "archive"
                ):
                    yield Finding(
                        WARNS, "idle-connection", planned.launch.name, f"{name}={seconds} in a VPC: NAT gateways and interface endpoints drop a connection that is idle for {IDLE_SECONDS} s, as the replayer's is while it waits for an answer",
                        f'launch with PARAMETERS="{name}=340"',
                    )  # fmt: skip

    def _topics(self) -> Iterator[tuple[Planned, str]]:
        """Each once: all stacks tell the same one."""
        topics = {topic: planned for planned in reversed(self._planned) if (topic := planned.values.get("NotifyTopicArn"))}
        for topic, planned in topics.items():
            yield planned, topic

    def _topic(self, planned: Planned, topic: str) -> Iterator[Finding]:
        """Whether CloudWatch may publish to it. What it may not, it does not say: the alarm goes off and nobody hears."""
        stack = planned.launch.name
        try:
            attributes = self.account.call("sns", "get_topic_attributes", TopicArn=topic)["Attributes"]
        except Absent:
            yield Finding(
                STOPS,
                "topic-missing",
                stack,
                f"NotifyTopicArn: there is no topic {topic}",
                "aws sns list-topics shows those that are there",
            )
            return
        key = attributes.get("KmsMasterKeyId", "")
        remedy = (
            "aws sns set-topic-attributes --attribute-name KmsMasterKeyId with a key of yours, whose policy lets cloudwatch.amazonaws.com "
            "use kms:GenerateDataKey* and kms:Decrypt"
        )
        if key.endswith("alias/aws/sns"):
            yield Finding(
                WARNS,
                "topic-key",
                stack,
                f"the topic {topic} is encrypted with alias/aws/sns, whose policy lets no alarm publish: nobody would hear them",
                remedy,
            )
        elif key:
            key_id = self.account.call("kms", "describe_key", KeyId=key)["KeyMetadata"]["KeyId"]
            policy = self.account.call("kms", "get_key_policy", KeyId=key_id, PolicyName="default")["Policy"]
            if "cloudwatch.amazonaws.com" not in policy:
                yield Finding(
                    WARNS,
                    "topic-key",
                    stack,
                    f"the topic {topic} is encrypted with {key}, whose policy does not name cloudwatch.amazonaws.com: nobody would hear an alarm",
                    remedy,
                )


def session_account() -> Account:
    """The account of the person's own settings. AWS_ENDPOINT_URL and the like are followed."""
    session = boto3.Session()
    region = os.environ.get("AWS_REGION") or session.region_name
    if not region:
        raise failures.NoRegionError()
    config = Config(connect_timeout=5, read_timeout=15, retries={"max_attempts": 2}, max_pool_connections=16)
    services: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in services:
            # Its own region: the account service is global.
            services[service] = session.client(service, region_name="us-east-1" if service == "account" else region, config=config)
        return services[service]

    # Sessions are not for threads; clients are.
    for service in ("account", *SERVICE_NAMES, "iam", "ssm"):
        client(service)
    return Account(client, region)


def known_region(region: str) -> Finding | None:
    """That no partition of AWS has a region of this name, as far as the installed botocore knows."""
    session = boto3.Session()
    known = {name for partition in session.get_available_partitions() for name in session.get_available_regions("sts", partition)}
    if region in known:
        return None
    near = difflib.get_close_matches(region, known, 1)
    remedy = f"did you mean {near[0]}?" if near else "aws account list-regions shows them"
    return Finding(WARNS, "region-unknown", "", f"the installed AWS SDK knows no region {region}", f"{remedy} (AWS_DEFAULT_REGION)")


def check(launches: Sequence[Launch], bucket: str | None = None) -> tuple[dict[str, str], list[Finding]]:
    """The caller and every finding for these launches, with the person's own settings."""
    try:
        account = session_account()
    except failures.NoRegionError:
        return {}, [
            Finding(
                STOPS, "region", "", "no region is set", "export AWS_DEFAULT_REGION=eu-central-1, or aws configure set region eu-central-1"
            )
        ]
    except (failures.ProfileNotFound, failures.InvalidRegionError) as error:
        return {}, [
            Finding(STOPS, "credentials", "", str(error), "correct AWS_PROFILE or AWS_DEFAULT_REGION; aws configure list shows them")
        ]
    preflight = Preflight(account, launches, bucket)
    found = preflight.run()
    if unknown := known_region(account.region):
        found.append(unknown)
    return {**preflight.identity, "Region": account.region}, found


def table(found: Sequence[Finding], width: int) -> str:
    """The findings for a terminal: what, and under it what to do."""
    lines = []
    stacks = max((len(finding.stack) for finding in found), default=0)
    for finding in found:
        head = f"{finding.severity}  {finding.stack:<{stacks}}  "
        indent = " " * len(head)
        room = max(40, width - len(head))
        what = textwrap.wrap(finding.what, room, break_long_words=False, break_on_hyphens=False)
        # A command stays on one line, so that it can be copied.
        lines += [head + what[0], *[indent + line for line in what[1:]], f"{indent}→ {finding.remedy}"]
    stopping = sum(finding.severity == STOPS for finding in found)
    warning = len(found) - stopping
    if not found:
        return "preflight: nothing stands in the way"
    return "\n".join(
        [
            *lines,
            f"preflight: {stopping} {'stops' if stopping == 1 else 'stop'} the launch, {warning} {'warns' if warning == 1 else 'warn'}",
        ]
    )


def launches_of(stacks: Sequence[str], given: Mapping[str, str], bucket: str | None) -> list[Launch]:
    """The launches that `STACK=NAME` and the parameters mean. A parameter goes to every template that has it."""
    launches = []
    for one in stacks:
        stack, _, name = one.partition("=")
        if stack not in STACKS:
            raise ValueError(f"{stack!r} is not one of {', '.join(STACKS)}")
        template = Template.of(stack)
        # As `make deploy-…` gives them; the zips are not built yet.
        code = {key: "sluice/preflight.zip" for key in template.parameters if key.startswith("CodeS3Key")} if bucket else {}
        if bucket:
            code["CodeS3Bucket"] = bucket
        only = len(stacks) == 1
        mine = {key: value for key, value in given.items() if only or key in template.parameters}
        # As make names it.
        usual = os.environ.get(f"{stack.upper().replace('-', '_')}_STACK") or f"sluice-{stack}"
        launches.append(Launch(stack, name or usual, {**code, **mine}))
    if unknown := [name for name in given if not any(name in launch.parameters for launch in launches)]:
        raise ValueError(f"no template has a parameter {', '.join(unknown)}")
    return launches


def main() -> int:
    # deploy.py runs the checks of this file.
    from deploy import Problem, parsed

    # What make hands on, unless somebody runs this alone.
    given = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stacks", nargs="*", metavar="STACK[=NAME]", help=f"of {', '.join(STACKS)}; all four without")
    parser.add_argument("--bucket", default=given("BUCKET"), help="the S3 bucket for the code")
    parser.add_argument("--parameters", default=given("PARAMETERS", ""), help='as for make: "Name=value Name=value"')
    parser.add_argument("--json", action="store_true", default=given("JSON") == "1", help="findings as JSON on stdout")
    arguments = parser.parse_args()
    bucket = arguments.bucket or None
    stacks = arguments.stacks or [one for one in [given("STACK")] if one] or [stack for stack in STACKS if bucket or stack == "autoscaling"]
    try:
        launches = launches_of(stacks, parsed(arguments.parameters), bucket)
    except (Problem, ValueError) as error:
        parser.error(str(error))
    identity, found = check(launches, bucket)
    if arguments.json:
        print(
            json.dumps(
                {**identity, "stacks": [launch.name for launch in launches], "findings": [asdict(finding) for finding in found]}, indent=2
            )
        )
    else:
        if identity.get("Arn"):
            print(f"{identity['Arn']} in {identity['Region']}: {', '.join(launch.name for launch in launches)}")
        print(table(found, shutil.get_terminal_size().columns))
    return 1 if any(finding.severity == STOPS for finding in found) else 0


if __name__ == "__main__":
    sys.exit(main())

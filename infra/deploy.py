#!/usr/bin/env python3
"""Builds the functions for Lambda and launches or updates a stack: `make package` and `make deploy-…` run this.

What can be wrong is looked at first: the parameters against the template, credentials, region, bucket, the stack's state and
the compiler's target. Only then is anything built. `make removal-plan` prints how to delete all of it again.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import boto3
import preflight
import yaml
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError, ProfileNotFound
from compact import compact

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
FUNCTIONS = ("log-processor", "dlq-replayer", "scale-up", "scale-down", "archiver", "stream-replayer")
RUST_TARGETS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
# Of a template in the call itself; a larger one goes by way of the bucket. (CloudFormation quotas)
TEMPLATE_BYTES_MAX = 51_200
CHARACTERS_QUOTED_MAX = 80
LOOK_EVERY_S = 3


@dataclass(frozen=True)
class Stack:
    """A template, and the parameter that names each function's code."""

    template: str
    name_variable: str
    code: Mapping[str, str]
    # Without its code it launches, too.
    needs_code: bool = True


STACKS = {
    "autoscaling": Stack(
        "autoscaling.yaml",
        "AUTOSCALING_STACK",
        {"CodeS3KeyScaleUp": "scale-up", "CodeS3KeyScaleDown": "scale-down"},
        needs_code=False,
    ),
    "log-processing": Stack(
        "log-processing.yaml",
        "LOG_PROCESSING_STACK",
        {"CodeS3Key": "log-processor", "CodeS3KeyDlqReplayer": "dlq-replayer"},
    ),
    "archive": Stack("archive.yaml", "ARCHIVE_STACK", {"CodeS3Key": "archiver"}),
    "stream-replay": Stack("stream-replay.yaml", "STREAM_REPLAY_STACK", {"CodeS3Key": "stream-replayer"}),
    "overview": Stack("overview.yaml", "OVERVIEW_STACK", {}, needs_code=False),
}
# Readers before what they read, and the stream's stack last.
REMOVED_IN_ORDER = ("overview", "stream-replay", "archive", "log-processing", "autoscaling")
# The overview's parameters, from the outputs of the stacks that are there. It shows a stack when the output that names its
# function is there.
SHOWN = {
    "autoscaling": ("AutoscalingStack", "ScaleUpFunctionName", {"StreamName": "StreamName"}),
    "log-processing": (
        "LogProcessingStack",
        "FunctionName",
        {
            "ProcessorFunctionName": "FunctionName",
            "DeadLetterQueueName": "DeadLetterQueueArn",
            "QuarantineQueueName": "QuarantineQueueArn",
            "BufferQueueName": "BufferQueueArn",
        },
    ),
    "archive": ("ArchiveStack", "FunctionName", {"ArchiverFunctionName": "FunctionName"}),
    "stream-replay": ("StreamReplayStack", "FunctionName", {}),
}


class Problem(Exception):
    """What the person should know instead of a stack trace: one line, with what to do."""


def quoted(text: str) -> str:
    """Text from elsewhere as one line of at most 80 characters."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= CHARACTERS_QUOTED_MAX else line[: CHARACTERS_QUOTED_MAX - 1] + "…"


# Parameters


class Template(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, which say nothing about parameters."""


Template.add_multi_constructor("!", lambda _loader, _tag, _node: None)


def parameters_of(template: Path) -> dict[str, dict[str, Any]]:
    return dict(yaml.load(template.read_text(encoding="utf-8"), Template)["Parameters"])


NAME = re.compile(r"([A-Z][A-Za-z0-9]*)=")
CLOSING = {"(": ")", "[": "]", "{": "}"}


def items_in(text: str) -> Iterator[tuple[int, str, int, int | None]]:
    """Each `Name=` at the start of a word, outside of quotation marks and brackets, which belong to a value: where it begins,
    the name, and where its value begins; and where that ends, if the whole of 'Name=value' is quoted."""
    position, open_brackets = 0, ""
    while position < len(text):
        character = text[position]
        before = text[position - 1 : position]
        if not open_brackets and (not before or before.isspace()):
            if found := NAME.match(text, position):
                yield position, found[1], found.end(), None
                position = found.end()
                continue
            closed = closing_quote(text, position) if character in "'\"" else None
            if closed is not None and (found := NAME.match(text, position + 1)) and not text[closed + 1 : closed + 2].strip():
                yield position, found[1], found.end(), closed
                position = closed + 1
                continue
        if character in "'\"" and not before.isalnum():
            closed = closing_quote(text, position)
            # A lone apostrophe is a character like any other.
            position = position + 1 if closed is None else closed + 1
            continue
        if character in CLOSING and CLOSING[character] in text[position:]:
            open_brackets += CLOSING[character]
        elif open_brackets.endswith(character):
            open_brackets = open_brackets[:-1]
        position += 1


def closing_quote(text: str, opened_at: int) -> int | None:
    position = opened_at + 1
    while position < len(text):
        if text[opened_at] == '"' and text[position] == "\\":
            position += 2
            continue
        if text[position] == text[opened_at]:
            return position
        position += 1
    return None


def unquoted(value: str) -> str:
    """The value without the quotation marks around all of it; within double ones a backslash protects " and \\."""
    if value[:1] in ("'", '"') and closing_quote(value, 0) == len(value) - 1:
        inner = value[1:-1]
        return re.sub(r'\\(["\\])', r"\1", inner) if value[0] == '"' else inner
    return value


def parsed(text: str) -> dict[str, str]:
    """`Name=value Name=value` as written: a value ends where the next name begins, and blanks and $ in it are its own."""
    found = list(items_in(text))
    before = text[: found[0][0]] if found else text
    if before.strip():
        raise Problem(f"PARAMETERS begins with {quoted(before.strip())}, which is not Name=value")
    values: dict[str, str] = {}
    for (_, name, begins, ends), following in itertools.zip_longest(found, found[1:]):
        if name in values:
            raise Problem(f"PARAMETERS sets {name} twice")
        if ends is not None:
            after = text[ends + 1 : following[0] if following else len(text)].strip()
            if after:
                raise Problem(f"PARAMETERS has {quoted(after)} behind {name}, which is not Name=value")
            values[name] = text[begins:ends]
        else:
            values[name] = unquoted(text[begins : following[0] if following else len(text)].strip())
    return values


def wrong_with(name: str, value: str, parameter: Mapping[str, Any]) -> str | None:
    """Why CloudFormation would refuse the value, or nothing."""
    told = f"{name}={quoted(value)}: "
    allowed = [str(item) for item in parameter.get("AllowedValues", [])]
    kind = str(parameter["Type"])
    if allowed and value not in allowed:
        near = difflib.get_close_matches(value, allowed, 1)
        return f"{told}one of {', '.join(allowed)}" + (f"; did you mean {near[0]}?" if near else "")
    if kind == "Number":
        least, most = float(parameter.get("MinValue", "-inf")), float(parameter.get("MaxValue", "inf"))
        if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", value) or not least <= float(value) <= most:
            return f"{told}a number from {parameter.get('MinValue')} to {parameter.get('MaxValue')}"
        return None
    for item in [part.strip() for part in value.split(",")] if kind == "CommaDelimitedList" else [value]:
        pattern = parameter.get("AllowedPattern")
        if pattern and not re.fullmatch(str(pattern), item):
            return f"{name}={quoted(item)}: {parameter.get('ConstraintDescription', pattern)}"
        if not int(parameter.get("MinLength", 0)) <= len(item) <= int(parameter.get("MaxLength", sys.maxsize)):
            return f"{told}{parameter.get('MinLength', 0)} to {parameter.get('MaxLength')} characters, not {len(item)}"
    return None


def checked_parameters(text: str, stack: Stack, own: Mapping[str, str]) -> dict[str, str]:
    """The person's parameters; `own` are those that variables of make set, each with its variable."""
    known = parameters_of(HERE / stack.template)
    given = parsed(text)
    for name, value in given.items():
        if name in own:
            raise Problem(f"PARAMETERS sets {name}; set {own[name]}= instead")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            did_you_mean = f"; did you mean {near[0]}?" if near else ""
            raise Problem(f"{quoted(name)} is not a parameter of infra/{stack.template}{did_you_mean}")
        if wrong := wrong_with(name, value, known[name]):
            raise Problem(wrong)
    return given


# AWS


@dataclass
class Cloud:
    """The account and region that the person's environment names."""

    session: boto3.Session
    region: str
    account: str

    @staticmethod
    def of_environment() -> Cloud:
        try:
            # As every SDK: the AWS CLI of Python alone reads AWS_DEFAULT_REGION only.
            session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
            region = session.region_name
        except BotoCoreError as error:
            raise Problem(f"AWS settings: {error}") from error
        if not region:
            raise Problem("No region is set. Set one: export AWS_REGION=eu-west-1 (or yours)")
        try:
            account = session.client("sts", region_name=region).get_caller_identity()["Account"]
        except NoCredentialsError as error:
            raise Problem(
                "No AWS credentials were found. Log in, then name the profile: aws configure sso; export AWS_PROFILE=…"
            ) from error
        except EndpointConnectionError as error:
            raise Problem(f"AWS cannot be reached in {region}: {error}. Check the region's name and your network.") from error
        except ClientError as error:
            raise Problem(
                f"AWS refuses your credentials ({error.response['Error']['Code']}). Log in again (aws sso login), "
                "or renew the keys in your environment."
            ) from error
        except ProfileNotFound as error:
            raise Problem(f"AWS settings: {error}") from error
        except (BotoCoreError, ValueError) as error:
            raise Problem(f"AWS cannot be asked who you are: {error}. Log in again, or check the region's name.") from error
        return Cloud(session, region, str(account))

    def client(self, service: str) -> Any:
        return self.session.client(service, region_name=self.region)

    def cli(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """The AWS CLI, in the same region. As a module: a script names the directory that it was installed in."""
        environment = {**os.environ, "AWS_DEFAULT_REGION": self.region, "AWS_PAGER": ""}
        return subprocess.Popen([sys.executable, "-m", "awscli", *arguments], env=environment)

    def check_bucket(self, bucket: str) -> None:
        s3 = self.client("s3")
        try:
            answer = s3.head_bucket(Bucket=bucket)
            region = answer.get("BucketRegion") or s3.get_bucket_location(Bucket=bucket).get("LocationConstraint") or "us-east-1"
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            region = error.response["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region", self.region)
            if status == 404:
                raise Problem(f"The bucket {bucket} does not exist. Create it: aws s3 mb s3://{bucket} --region {self.region}") from error
            if region == self.region:
                raise Problem(
                    f"Your credentials may not use the bucket {bucket} ({status}); it may be another account's. "
                    "Choose another name, or ask for s3:ListBucket, s3:GetObject and s3:PutObject on it."
                ) from error
        if region != self.region:
            raise Problem(
                f"The bucket {bucket} is in {region}, and this stack in {self.region}. Lambda takes code from its own region: "
                f"choose another bucket, or set AWS_REGION={region}."
            )

    def stack_status(self, name: str) -> str | None:
        try:
            return str(self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def outputs(self, name: str) -> dict[str, str]:
        """A stack's outputs; none where there is no stack."""
        if self.stack_status(name) is None:
            return {}
        described = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}

    def check_stack(self, name: str) -> None:
        status = self.stack_status(name) or ""
        stack = f"--stack-name {name} --region {self.region}"
        if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
            raise Problem(
                f"The stack {name} is {status} and takes no update. Delete it, then try again: "
                f"aws cloudformation delete-stack {stack} && aws cloudformation wait stack-delete-complete {stack}"
            )
        if status == "UPDATE_ROLLBACK_FAILED":
            raise Problem(
                f"The stack {name} is {status} and takes no update. Repair it first: aws cloudformation continue-update-rollback {stack}"
            )
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise Problem(f"The stack {name} is {status}: somebody is changing it. Try again when that is done.")

    def upload(self, function: str, bucket: str) -> str:
        """Puts a function's zip under a name that says what is in it, so that a stack update sees new code."""
        zipped = TARGET / "lambda" / function / "bootstrap.zip"
        if not zipped.is_file():
            raise Problem(f"{zipped} is missing after the build")
        key = f"sluice/{function}-{hashlib.sha256(zipped.read_bytes()).hexdigest()[:16]}.zip"
        print(f"uploading {function} as s3://{bucket}/{key}", flush=True)
        self.client("s3").upload_file(str(zipped), bucket, key)
        return key

    def launch(self, name: str, template: Path, bucket: str, parameters: Mapping[str, str]) -> None:
        print(f"launching {name} in {self.region}: some minutes", flush=True)
        started = time.time()
        overrides = [f"{parameter}={value}" for parameter, value in parameters.items()]
        cli = self.cli(
            "cloudformation", "deploy", "--stack-name", name, "--template-file", template, "--no-fail-on-empty-changeset",
            "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND",
            *(["--s3-bucket", bucket, "--s3-prefix", "sluice/templates"] if bucket else []),
            *(["--parameter-overrides", *overrides] if overrides else []),
        )  # fmt: skip
        seen: set[str] = set()
        while True:
            over = cli.poll() is not None
            for event in self.events(name, started):
                if event["EventId"] not in seen:
                    seen.add(event["EventId"])
                    reason = event.get("ResourceStatusReason", "")
                    print(f"  {event['ResourceStatus']:<28}{event['LogicalResourceId']}" + (f": {reason}" if reason else ""), flush=True)
            if over:
                break
            time.sleep(LOOK_EVERY_S)
        if cli.returncode != 0:
            raise Problem(f"{name} was not launched; AWS's reason stands above")
        self.cli("cloudformation", "describe-stacks", "--stack-name", name, "--query", "Stacks[0].Outputs", "--output", "table").wait()

    def events(self, name: str, since: float) -> list[dict[str, Any]]:
        """What happened to the stack since then, oldest first; nothing as long as it is not there."""
        try:
            events = self.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        except (ClientError, BotoCoreError):
            return []
        return [event for event in reversed(events) if event["Timestamp"].timestamp() >= since]


# Building


def check_compiler(architecture: str) -> None:
    """Cargo and the target's standard library. cargo-lambda would add a missing target to the toolchain without a word."""
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        raise Problem("cargo is not on the PATH: install Rust from https://rustup.rs")
    target = RUST_TARGETS[architecture]
    told = subprocess.run(["rustc", "--print", "target-libdir", "--target", target], cwd=ROOT, capture_output=True, text=True)
    if told.returncode != 0 or not Path(told.stdout.strip()).is_dir():
        other = "x86_64" if architecture == "arm64" else "arm64"
        raise Problem(
            f"Rust's target {target} is not installed. Add it once: rustup target add {target} "
            f"(or build for the other processor: ARCHITECTURE={other})"
        )


def build(architecture: str) -> None:
    print(f"building the functions for {architecture}: about 10 minutes the first time, seconds later", flush=True)
    packages = [argument for function in FUNCTIONS for argument in ("-p", function)]
    arm = ["--arm64"] if architecture == "arm64" else []
    # cargo-lambda and its linker lie beside this Python.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = ["cargo", "lambda", "build", "--release", "--locked", *packages, *arm, "--output-format", "zip"]
    if subprocess.run(command, cwd=ROOT, env=environment).returncode != 0:
        raise Problem("the build failed; the compiler's reason stands above")


# What make runs


def variable(name: str, default: str = "") -> str:
    return os.environ.get(name) or default


def package() -> None:
    architecture = variable("ARCHITECTURE", "arm64")
    check_compiler(architecture)
    build(architecture)


def look_first(launch: preflight.Launch, bucket: str) -> None:
    """Everything that would make the launch fail, before anything is built."""
    _, found = preflight.check([launch], bucket or None)
    print(preflight.table(found, shutil.get_terminal_size().columns), flush=True)
    if any(finding.severity == preflight.STOPS for finding in found):
        raise Problem("Nothing was built or launched. SKIP_PREFLIGHT=1 launches nonetheless.")


def deploy(kind: str) -> None:
    stack, bucket = STACKS[kind], variable("BUCKET")
    name, architecture = variable(stack.name_variable), variable("ARCHITECTURE", "arm64")
    if stack.needs_code and not bucket:
        raise Problem("The code needs a bucket: set BUCKET= to the name of an S3 bucket in your region")
    own = {"CodeS3Bucket": "BUCKET", "Architecture": "ARCHITECTURE"} if bucket else {}
    parameters = checked_parameters(variable("PARAMETERS"), stack, own)
    template = HERE / stack.template
    cloud = Cloud.of_environment()
    if bucket:
        cloud.check_bucket(bucket)
    cloud.check_stack(name)
    if bucket:
        check_compiler(architecture)
    if kind != "overview" and variable("SKIP_PREFLIGHT") != "1":
        # The zips are not built yet; their keys only say that they will be there.
        keys = {parameter: "sluice/not-built-yet.zip" for parameter in stack.code} if bucket else {}
        code = {"CodeS3Bucket": bucket, "Architecture": architecture, **keys} if bucket else {}
        look_first(preflight.Launch(kind, name, {**code, **parameters}), bucket)
    if bucket:
        build(architecture)
        keys = {parameter: cloud.upload(function, bucket) for parameter, function in stack.code.items()}
        parameters = {"CodeS3Bucket": bucket, "Architecture": architecture, **keys, **parameters}
    elif kind == "overview":
        parameters = {**overview_parameters(cloud), **parameters}
    else:
        print("no BUCKET=: the stream alone, without scaling")
    if not bucket and template.stat().st_size > TEMPLATE_BYTES_MAX:
        template = compacted(template)
    cloud.launch(name, template, bucket, parameters)


def compacted(template: Path) -> Path:
    """The same template, small enough to be sent without a bucket."""
    TARGET.mkdir(parents=True, exist_ok=True)
    small = TARGET / f"{template.stem}.json"
    small.write_text(compact(template.read_text(encoding="utf-8")), encoding="utf-8")
    return small


def overview_parameters(cloud: Cloud) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for kind, (shown, function, taken) in SHOWN.items():
        name = variable(STACKS[kind].name_variable)
        outputs = cloud.outputs(name)
        # An empty name leaves a stack out, where the template's default would show it.
        parameters[shown] = name if function in outputs else ""
        # An ARN ends with the name.
        parameters |= {to: outputs[key].rsplit(":", 1)[-1] for to, key in taken.items() if key in outputs}
    return parameters


# What a stack leaves behind, since it holds data, and the command that deletes it.
LEFT_BEHIND: dict[str, Callable[[str], str]] = {
    "AWS::Kinesis::Stream": lambda name: f"aws kinesis delete-stream --enforce-consumer-deletion --stream-name {name}",
    "AWS::SQS::Queue": lambda url: f"aws sqs delete-queue --queue-url {url}",
    "AWS::S3::Bucket": lambda name: f"aws s3 rb --force s3://{name}",
}


def removal_plan() -> None:
    cloud = Cloud.of_environment()
    stays: list[str] = []
    print("# Deletes nothing: these are the commands. Stop at the first that fails.")
    print(f"export AWS_DEFAULT_REGION={cloud.region}")
    for kind in REMOVED_IN_ORDER:
        name = variable(STACKS[kind].name_variable)
        if cloud.stack_status(name) is None:
            print(f"\n# There is no stack {name}.")
            continue
        pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
        for resource in (item for page in pages for item in page["StackResourceSummaries"]):
            if command := LEFT_BEHIND.get(resource["ResourceType"]):
                stays.append(command(shlex.quote(resource["PhysicalResourceId"])))
        print(f"\n# {name}: functions, roles, alarms and dashboard go, and the functions' logs with them.")
        print(f"aws cloudformation delete-stack --stack-name {name}")
        print(f"aws cloudformation wait stack-delete-complete --stack-name {name}")
    if stays:
        print("\n# These stay, since they hold data that may be nowhere else. Each command deletes such data for good.")
        print("\n".join(stays))
    if bucket := variable("BUCKET"):
        print("\n# The code and templates that were uploaded.")
        print(f"aws s3 rm --recursive s3://{bucket}/sluice/")
    else:
        print("\n# The code and templates that were uploaded stay under sluice/ in your bucket; BUCKET= prints the command.")


def interrupted() -> NoReturn:
    print("\ninterrupted; what CloudFormation has begun it finishes", file=sys.stderr)
    sys.exit(130)


def main() -> int:
    arguments = sys.argv[1:]
    commands: dict[str, Callable[[], None]] = {
        "package": package,
        "removal-plan": removal_plan,
        **{kind: (lambda kind=kind: deploy(kind)) for kind in STACKS},
    }
    if len(arguments) != 1 or arguments[0] not in commands:
        print(f"{__doc__}\nusage: deploy.py {'|'.join(commands)}", file=sys.stderr)
        return 2
    try:
        commands[arguments[0]]()
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    except (ClientError, BotoCoreError, OSError, Boto3Error) as error:
        print(f"failed: {quoted(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        interrupted()
    return 0


if __name__ == "__main__":
    sys.exit(main())

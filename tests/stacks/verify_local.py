#!/usr/bin/env python3
"""`make verify ENGINE=local`: the acceptance run of infra/verify.py on the local engines, with what they cannot do named."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import binaries
import boto3
import engines as local
import running
import stack
from engines import REGION
from running import ROOT, TARGET

sys.path.insert(0, str(ROOT / "infra"))
import verify

# One CloudWatch minute, in seconds of wall time.
MINUTE_S = 3.0
DIRECTORY = TARGET / "verify"
NO_AWS = "MiniStack would answer, and what it answers is not what AWS does"
SKIPS = {
    "D1": "the stream engine knows no IAM, so that it allows everything",
    "D2": "CloudFormation and the stream are two engines here: an update never reaches the stream",
    "D3": "CloudFormation and the stream are two engines here: an update never reaches the stream",
    "D4": "MiniStack's CloudFormation drops ReservedConcurrentExecutions",
    "D5": "no metric math here",
    "D7": "Lambda's queue is a part of ours here: it would answer with our own guess",
    "D8": "Lambda's queue is a part of ours here: it would answer with our own guess",
    "D9": f"{NO_AWS}: it takes any trust policy",
    "D10": f"{NO_AWS}: its alarms do not act on topics",
    "D11": f"{NO_AWS}: it takes any time",
    "D12": "MiniStack's Firehose cannot run the query that finds an event's time",
    "D14": f"{NO_AWS}: it reads the template in its own way",
}


@dataclass
class Local(verify.Platform):
    """The engines, and what stack.py plays of the templates besides."""

    engines: Any = None
    functions: Mapping[str, Path] = field(default_factory=dict)
    # What the template said last, which is when CloudFormation would send it again.
    reserved: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(engines: local.Engines, functions: Mapping[str, Path], minute_s: float = MINUTE_S, **more: Any) -> Local:
        client = functools.cache(engines.client)
        artifacts = engines.run_directory / "zips"
        artifacts.mkdir(exist_ok=True)
        given: dict[str, Any] = {"name": "MiniStack", "minute_s": minute_s, "patience_s": 60.0, "skips": SKIPS, **more}
        return Local(client, REGION, artifacts, engines=engines, functions=functions, **given)

    def artifact(self, function: str) -> Path:
        archive = self.artifacts / f"{function}.zip"
        if not archive.is_file():
            binaries.package(self.functions[function], archive)
        return archive

    def parameters(self, stack_name: str) -> dict[str, str]:
        # MiniStack refuses an alarm on metric math, and the mapping that is played here does not halve.
        return {"log-processing": {"MetricMathAlarms": "false"}, "archive": {"BisectBatchOnFunctionError": "false"}}.get(stack_name, {})

    def launched(self, stack_name: str, parameters: Mapping[str, str], outputs: Mapping[str, str]) -> None:
        """What MiniStack's CloudFormation leaves out; see stack.py."""
        lambdas = self.client("lambda")

        def reserve(function: str, count: int) -> None:
            if self.reserved.get(function) != count:
                self.reserved[function] = count
                lambdas.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=count)

        def chain(function: str) -> None:
            lambdas.put_function_recursion_config(FunctionName=function, RecursiveLoop="Allow")

        if stack_name == "autoscaling":
            if not stack.stream_exists(self.engines, parameters["StreamName"]):
                stack.create_stream(self.engines, parameters["StreamName"], int(parameters["ShardCountInitial"]))
            for name in ("ScaleUpFunctionName", "ScaleDownFunctionName"):
                reserve(outputs[name], 1)
        elif stack_name == "log-processing":
            reserve(outputs["FunctionName"], int(parameters["ReservedConcurrency"]))
            reserve(outputs["ReplayerFunctionName"], 1)
            chain(outputs["ReplayerFunctionName"])
            lambdas.update_function_configuration(
                FunctionName=outputs["FunctionName"], DeadLetterConfig={"TargetArn": outputs["DeadLetterQueueArn"]}
            )
        elif stack_name == "stream-replay":
            reserve(outputs["FunctionName"], 1)
            chain(outputs["FunctionName"])

    def removed(self, kind: str, name: str) -> None:
        if kind == "AWS::Kinesis::Stream":
            # The stream that CloudFormation made in MiniStack, which nobody writes to.
            own = boto3.client(
                "kinesis", endpoint_url=self.engines.endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
            )
            verify.gone(lambda: own.delete_stream(StreamName=name))


def main() -> int:
    verify.listen_to_signals()
    if os.environ.get("CLEAN_UP"):
        print("the local engines keep nothing: a run that ended has left nothing behind")
        return 0
    try:
        held = running.hold(DIRECTORY, "an acceptance run", "wait until it ends")
        built = binaries.Build(held, binaries.STREAM_ENGINE, *binaries.FUNCTIONS).wait()
        engines = local.start(held, built[binaries.STREAM_ENGINE], DIRECTORY / "run", minute_s=MINUTE_S)
        try:
            run = verify.Run(Local.of(engines, built), verify.drawn_prefix())
            for what, usd in verify.price():
                print(f"${usd:5.2f}  {what}")
            print(f"${sum(usd for _, usd in verify.price()):5.2f}  in all on AWS; here, nothing")
            good = verify.conduct(run, json_file=DIRECTORY / f"{run.prefix}.json")
        finally:
            engines.stop()
    except (running.Busy, binaries.BuildError, local.EngineError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

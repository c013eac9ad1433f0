#!/usr/bin/env python3
"""Prints a template without its transform, for where transforms are refused: service-managed StackSets, and updates that use
the existing template. `make template-…` runs this.

The lists that its loops run over are fixed by that: their parameters take one value only, so that CloudFormation refuses
another one instead of doing half of it. Other parameters that are given become defaults.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from awscli.customizations.cloudformation.yamlhelper import yaml_parse
from deploy import STACKS, Problem, checked_parameters

HERE = Path(__file__).resolve().parent
LOOP = "Fn::ForEach::"
EXPANDED = ("autoscaling", "log-processing")
# Characters of a logical ID. (CloudFormation quotas)
LOGICAL_ID_MAX = 255


def expanded(root: dict[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The template with its loops run for the values given."""
    parameters: dict[str, Any] = root["Parameters"]
    for name, value in given.items():
        parameters[name]["Default"] = value
    fixed = {loop[1]["Ref"] for name, loop in root["Resources"].items() if name.startswith(LOOP)}
    lists = {name: [item.strip() for item in str(parameters[name]["Default"]).split(",")] for name in fixed}
    resources: dict[str, Any] = {}
    for name, resource in unrolled(root["Resources"], lists):
        if name in resources:
            raise Problem(f"two values lead to one resource {name}; launch a second stack for one of them")
        if len(name) > LOGICAL_ID_MAX:
            raise Problem(f"the resource {name[:40]}… would have {len(name)} characters, and CloudFormation takes {LOGICAL_ID_MAX}")
        resources[name] = resource
    rest = {name: part for name, part in root.items() if name not in ("Transform", "Resources")}
    for name in fixed:
        rest["Parameters"][name] = {
            "Type": "String",
            "Default": ",".join(lists[name]),
            "AllowedValues": [",".join(lists[name])],
            "Description": "Fixed in this template. For another value make it anew: make template-… PARAMETERS=…",
        }
    made: dict[str, Any] = splitting({**rest, "Resources": resources}, fixed)
    return made


def unrolled(resources: Mapping[str, Any], lists: Mapping[str, list[str]]) -> Iterator[tuple[str, Any]]:
    for name, resource in resources.items():
        if not name.startswith(LOOP):
            yield name, resource
            continue
        variable, collection, body = resource
        for item in filter(None, lists[collection["Ref"]]):
            for template, each in body.items():
                yield template.replace(f"&{{{variable}}}", re.sub("[^0-9A-Za-z]", "", item)), said(each, variable, item)


def said(node: Any, variable: str, item: str) -> Any:
    """What stands in the loop, with the item in the variable's place."""
    if node == {"Ref": variable}:
        return item
    if isinstance(node, dict):
        made = {name: said(value, variable, item) for name, value in node.items()}
        text = made.get("Fn::Sub")
        return text if isinstance(text, str) and "${" not in text else made
    if isinstance(node, list):
        return [said(value, variable, item) for value in node]
    return node.replace(f"${{{variable}}}", item) if isinstance(node, str) else node


def splitting(node: Any, lists: set[str]) -> Any:
    """A fixed parameter is text: where a list is wanted, it is split."""
    if isinstance(node, dict):
        if len(node) == 1 and node.get("Ref") in lists:
            return {"Fn::Split": [",", node]}
        return {name: splitting(value, lists) for name, value in node.items()}
    if isinstance(node, list):
        return [splitting(value, lists) for value in node]
    return node


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in EXPANDED:
        print(f"{__doc__}\nusage: expand.py {'|'.join(EXPANDED)}", file=sys.stderr)
        return 2
    stack = STACKS[sys.argv[1]]
    try:
        given = checked_parameters(os.environ.get("PARAMETERS", ""), stack, {})
        # Without a log group the expansion would have conditions and parameters that nothing reads.
        if sys.argv[1] == "log-processing" and not given.get("LogGroupNames"):
            raise Problem("Name the log groups that the template is to subscribe: PARAMETERS='LogGroupNames=…'")
        root = yaml_parse((HERE / stack.template).read_text(encoding="utf-8"))
        print(json.dumps(expanded(root, given), ensure_ascii=False, indent=1))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

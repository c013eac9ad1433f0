"""Reads a template as CloudFormation will with the parameters given: which resources come into being, and under which
names. What only AWS knows, such as the ARN of something that is not there yet, stays UNKNOWN.

The templates alone hold defaults, limits and names; whoever wants to know one asks them through this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
# By the word that `make deploy-…` uses.
STACKS = ("autoscaling", "log-processing", "archive", "stream-replay")
# Bytes of one parameter's value. (CloudFormation quotas)
VALUE_BYTES_MAX = 4_096


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()
_NOTHING = object()


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if name == "Fn::GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


@dataclass(frozen=True)
class Resource:
    """A resource that the stack will have."""

    logical_id: str
    type: str
    properties: Mapping[str, Any]

    def name(self, member: str) -> str | None:
        """The property, when its text is known beforehand."""
        value = self.properties.get(member)
        return value if isinstance(value, str) else None


class Template:
    """One of the templates under infra/, or any other file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, encoding="utf-8") as text:
            self._body = yaml.load(text, _Loader)
        self.parameters: dict[str, dict[str, Any]] = self._body.get("Parameters", {})

    @property
    def has_transform(self) -> bool:
        """Whether CloudFormation must run macros over it."""
        return "Transform" in self._body

    @staticmethod
    def of(stack: str) -> Template:
        return Template(HERE / f"{stack}.yaml")

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """Every parameter's value, as text."""
        defaults = {name: str(spec["Default"]) for name, spec in self.parameters.items() if "Default" in spec}
        return {**defaults, **{name: str(value) for name, value in given.items()}}

    def problems(self, given: Mapping[str, str]) -> list[tuple[str, str]]:
        """(parameter, what CloudFormation will refuse about it)."""
        found = []
        for name, value in given.items():
            spec = self.parameters.get(name)
            if spec is None:
                found.append((name, f"{self.path.name} has no such parameter"))
                continue
            if (size := len(str(value).encode())) > VALUE_BYTES_MAX:
                found.append((name, f"its value has {size:,} bytes, and CloudFormation takes {VALUE_BYTES_MAX:,} at the most"))
            if problem := _refused(spec, str(value)):
                found.append((name, problem))
        for name, spec in self.parameters.items():
            if "Default" not in spec and name not in given:
                found.append((name, "it has no default, so it must be given"))
        return found

    def resources(self, given: Mapping[str, str], pseudo: Mapping[str, str]) -> list[Resource]:
        """What the stack will consist of. `pseudo` holds AWS::StackName, AWS::Region and so on, as far as they are known."""
        return _Evaluation(self._body, self.parameters, self.values(given), pseudo).resources()


def _refused(spec: Mapping[str, Any], value: str) -> str | None:
    told = spec.get("ConstraintDescription")
    items = value.split(",") if spec["Type"].startswith(("CommaDelimitedList", "List<")) else [value]
    if spec["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            return "it is not a number"
        if not spec.get("MinValue", number) <= number <= spec.get("MaxValue", number):
            return f"it must lie between {spec.get('MinValue', '-∞')} and {spec.get('MaxValue', '∞')}"
    if (allowed := spec.get("AllowedValues")) and any(item.strip() not in [str(one) for one in allowed] for item in items):
        return f"it must be one of {', '.join(str(one) for one in allowed)}"
    if (pattern := spec.get("AllowedPattern")) and not all(re.fullmatch(pattern, item.strip()) for item in items):
        return f"it must be: {' '.join(told.split()) if told else pattern}"
    if not spec.get("MinLength", 0) <= len(value) <= spec.get("MaxLength", len(value)):
        return f"it must have {spec.get('MinLength', 0)} to {spec.get('MaxLength', '∞')} characters"
    return None


class _Evaluation:
    def __init__(
        self, body: Mapping[str, Any], parameters: Mapping[str, Any], values: Mapping[str, str], pseudo: Mapping[str, str]
    ) -> None:
        self._body = body
        self._references: dict[str, Any] = dict(pseudo)
        for name, spec in parameters.items():
            value: Any = values.get(name, UNKNOWN)
            if isinstance(value, str) and spec["Type"].startswith(("CommaDelimitedList", "List<")):
                value = [item.strip() for item in value.split(",")]
            self._references[name] = value
        self._conditions: dict[str, Any] = {}

    def resources(self) -> list[Resource]:
        return list(self._each(self._body["Resources"], self._references))

    def _each(self, resources: Mapping[str, Any], references: Mapping[str, Any]) -> Any:
        for logical_id, resource in resources.items():
            if logical_id.startswith("Fn::ForEach::"):
                variable, collection, body = resource
                for item in self._value(collection, references) or []:
                    text = str(item)
                    bare = re.sub(r"[^0-9A-Za-z]", "", text)
                    named = {
                        one.replace(f"&{{{variable}}}", bare).replace(f"${{{variable}}}", text): each
                        for one, each in body.items()
                    }
                    yield from self._each(named, {**references, variable: text})
                continue
            if "Condition" in resource and self._condition(resource["Condition"]) is False:
                continue
            properties = self._value(resource.get("Properties", {}), references)
            yield Resource(logical_id, resource["Type"], properties if isinstance(properties, dict) else {})

    def _condition(self, name: str) -> Any:
        if name not in self._conditions:
            self._conditions[name] = self._value(self._body["Conditions"][name], self._references)
        return self._conditions[name]

    def _value(self, node: Any, references: Mapping[str, Any]) -> Any:
        if isinstance(node, list):
            items = [self._value(item, references) for item in node]
            return [item for item in items if item is not _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref":
                return _NOTHING if argument == "AWS::NoValue" else references.get(argument, UNKNOWN)
            if name == "Condition" and isinstance(argument, str):
                return self._condition(argument)
            if name.startswith("Fn::"):
                return self._function(name, argument, references)
        found = {name: self._value(value, references) for name, value in node.items()}
        return {name: value for name, value in found.items() if value is not _NOTHING}

    def _function(self, name: str, argument: Any, references: Mapping[str, Any]) -> Any:
        if name == "Fn::If":
            condition = self._condition(argument[0])
            return UNKNOWN if condition is UNKNOWN else self._value(argument[1 if condition else 2], references)
        if name == "Fn::Sub":
            text, more = (argument, {}) if isinstance(argument, str) else argument
            return _substituted(text, {**references, **{one: self._value(value, references) for one, value in more.items()}})
        arguments = self._value(argument, references)
        if arguments is UNKNOWN or (isinstance(arguments, list) and UNKNOWN in arguments):
            return UNKNOWN
        if name == "Fn::Equals":
            return str(arguments[0]) == str(arguments[1])
        if name == "Fn::Not":
            return not arguments[0]
        if name == "Fn::And":
            return all(arguments)
        if name == "Fn::Or":
            return any(arguments)
        if name == "Fn::Join":
            delimiter, items = arguments
            return UNKNOWN if not isinstance(items, list) or UNKNOWN in items else delimiter.join(str(one) for one in items)
        if name == "Fn::Split":
            delimiter, text = arguments
            return text.split(delimiter) if isinstance(text, str) else UNKNOWN
        if name == "Fn::Select":
            index, items = arguments
            return items[int(index)] if isinstance(items, list) and int(index) < len(items) else UNKNOWN
        if name == "Fn::Length":
            return len(arguments) if isinstance(arguments, list) else UNKNOWN
        if name == "Fn::FindInMap" and len(arguments) >= 3:
            return self._body.get("Mappings", {}).get(arguments[0], {}).get(arguments[1], {}).get(arguments[2], UNKNOWN)
        return UNKNOWN


def _substituted(text: str, references: Mapping[str, Any]) -> Any:
    known = True

    def replaced(match: re.Match[str]) -> str:
        nonlocal known
        if match[1].startswith("!"):
            return "${" + match[1][1:] + "}"
        value = references.get(match[1], UNKNOWN)
        if value is UNKNOWN or isinstance(value, (list, dict)):
            known = False
        return str(value)

    result = re.sub(r"\$\{([^}]+)\}", replaced, text)
    return result if known else UNKNOWN

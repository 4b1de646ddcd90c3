"""A form for a pipeline's parameters: its fields, and what is wrong with what was typed. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gamenode_console import words
from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.quantities import format_duration, parse_duration, parse_size, spell_size
from gamenode_proto.v1 import common_pb2, pipeline_management_pb2

Parameter = pipeline_management_pb2.Parameter
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter as a form shows it. `choices`: one of these is chosen, not typed."""

    name: str
    type: str
    description: str
    required: bool
    default: str
    choices: tuple[str, ...]
    hint: str
    parameter: Parameter

    @property
    def secret(self) -> bool:
        """What is typed is not shown."""
        return self.type == "secret"


def fields(parameters: Sequence[Parameter]) -> list[Field]:
    """The fields in the pipeline's order."""
    found = []
    for parameter in parameters:
        choices = tuple(parameter.choices)
        if parameter.type == "boolean":
            choices = ("true", "false")
        found.append(
            Field(
                parameter.name,
                parameter.type,
                parameter.description,
                parameter.required,
                _spelled(parameter.type, words.value(parameter.default)),
                choices,
                _hint(parameter),
                parameter,
            )
        )
    return found


def problem(field: Field, text: str) -> str:
    """What is wrong with a text for a field; empty where nothing is. The server has the last word."""
    if not text:
        return "needed" if field.required and not field.default else ""
    if field.choices and text not in field.choices:
        return f"one of {', '.join(field.choices)}"
    match field.type:
        case "integer":
            if not re.fullmatch(r"[+-]?\d+", text):
                return "a whole number"
            return _bounds(field, float(text))
        case "number":
            try:
                return _bounds(field, float(text))
            except ValueError:
                return "a number"
        case "size" | "duration" as kind:
            try:
                return _bounds(field, float(parse_size(text) if kind == "size" else parse_duration(text)))
            except GameNodeError as error:
                return error.message
    if field.parameter.pattern:
        try:
            if not re.fullmatch(field.parameter.pattern, text):
                return f"must match {field.parameter.pattern}"
        except re.error:
            return ""  # of another dialect: the server tells
    return ""


def value(field: Field, text: str) -> common_pb2.Value:
    """A text that is right as a value with the parameter's own type."""
    match field.type:
        case "integer":
            return common_pb2.Value(integer=int(text))
        case "number":
            return common_pb2.Value(number=float(text))
        case "boolean" if text.lower() in _TRUE | _FALSE:
            return common_pb2.Value(boolean=text.lower() in _TRUE)
        case _:
            return common_pb2.Value(text=text)


def given(fields: Sequence[Field], typed: Mapping[str, str]) -> dict[str, common_pb2.Value]:
    """The parameters that are to be sent: those that are not left as they are."""
    return {
        field.name: value(field, typed[field.name])
        for field in fields
        if typed.get(field.name) and typed[field.name] != field.default
    }


def _bounds(field: Field, number: float) -> str:
    parameter = field.parameter
    if parameter.HasField("min") and number < parameter.min:
        return f"at least {_spelled(parameter.type, parameter.min)}"
    if parameter.HasField("max") and number > parameter.max:
        return f"at most {_spelled(parameter.type, parameter.max)}"
    return ""


def _spelled(type: str, value: object) -> str:
    """A value as people write it: `512m`, `1h30m`, `true`; nothing where there is none."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int() | float() if type == "size":
            return spell_size(int(value))
        case int() | float() if type == "duration":
            return format_duration(value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _hint(parameter: Parameter) -> str:
    parts = [parameter.type] if parameter.type not in ("string", "choice", "boolean") else []
    low = _spelled(parameter.type, parameter.min) if parameter.HasField("min") else ""
    high = _spelled(parameter.type, parameter.max) if parameter.HasField("max") else ""
    if low and high:
        parts.append(f"{low} to {high}")
    elif low:
        parts.append(f"from {low}")
    elif high:
        parts.append(f"up to {high}")
    if parameter.pattern:
        parts.append(parameter.pattern)
    if parameter.required:
        parts.append("needed")
    return ", ".join(parts)

"""Writing pipelines in Python, and any pipeline as YAML.

    from gamenode_pipelines import Pipeline, Step

    Pipeline("hello", steps=[Step("greet", run='echo "Hello from ${{ node.name }}"')]).to_yaml()

The keys and values are those of a file; `if_` and `finally_` have an underscore because Python keeps the words,
durations may also be seconds or timedeltas, sizes bytes. What is written is loaded again, and so checked as a file is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

import yaml

from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.kinds.fields import DURATION, FieldType
from gamenode_pipelines.kinds.shapes import below
from gamenode_pipelines.load import LoadedPipeline, load_pipelines
from gamenode_pipelines.quantities import format_duration
from gamenode_pipelines.spec import PipelineSpec
from gamenode_pipelines.yaml_tree import is_text

Value = str | int | float | bool
Span = str | int | float | timedelta


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """Keys in the order a file has them; what is None is left out."""

    def document(self) -> dict[str, Any]:
        """The mapping that a file would have."""
        return {
            item.name.rstrip("_"): _document(item.name, value)
            for item in fields(self)
            if (value := getattr(self, item.name)) is not None
        }


@dataclass(frozen=True, kw_only=True)
class Param(_Fields):
    """A value that whoever starts a run can give."""

    type: str | None = None
    description: str | None = None
    min: Value | timedelta | None = None
    max: Value | timedelta | None = None
    values: Sequence[Value] | None = None
    default: Value | timedelta | None = None


@dataclass(frozen=True)
class Step(_Fields):
    """One step: a script or, as a list, a command; or, with `uses`, what the agent does."""

    id: str
    needs: Sequence[str] | None = field(default=None, kw_only=True)
    if_: str | bool | None = field(default=None, kw_only=True)
    uses: str | None = field(default=None, kw_only=True)
    run: str | Sequence[str] | None = field(default=None, kw_only=True)
    with_: Mapping[str, Any] | None = field(default=None, kw_only=True)
    shell: str | None = field(default=None, kw_only=True)
    workdir: str | None = field(default=None, kw_only=True)
    user: str | None = field(default=None, kw_only=True)
    env: Mapping[str, Value] | None = field(default=None, kw_only=True)
    limits: Mapping[str, Value] | None = field(default=None, kw_only=True)
    timeout: Span | None = field(default=None, kw_only=True)
    retry: Mapping[str, Any] | None = field(default=None, kw_only=True)
    stop: Mapping[str, Any] | None = field(default=None, kw_only=True)
    idempotent: bool | None = field(default=None, kw_only=True)
    continue_on_error: bool | None = field(default=None, kw_only=True)
    on_failure: Sequence[Step] | None = field(default=None, kw_only=True)

    def document(self) -> dict[str, Any]:
        """The mapping that a file would have; which numbers under `with` are durations is for its kind to say."""
        document = _Fields.document(self)
        if self.with_ is not None:
            kind = KINDS.get(self.uses or "")
            document["with"] = _settings(self.with_, kind.record if kind else None)
        return document


@dataclass(frozen=True)
class Pipeline(_Fields):
    """A pipeline: a template that runs are made from."""

    pipeline: str
    description: str | None = field(default=None, kw_only=True)
    params: Mapping[str, Param | Mapping[str, Any]] | None = field(default=None, kw_only=True)
    env: Mapping[str, Value] | None = field(default=None, kw_only=True)
    targets: Mapping[str, Value] | None = field(default=None, kw_only=True)
    requires: Mapping[str, Value] | None = field(default=None, kw_only=True)
    rollout: Mapping[str, Value | Span] | None = field(default=None, kw_only=True)
    concurrency: Mapping[str, str] | None = field(default=None, kw_only=True)
    approval: Mapping[str, str] | None = field(default=None, kw_only=True)
    files: Sequence[str] | None = field(default=None, kw_only=True)
    timeout: Span | None = field(default=None, kw_only=True)
    schedule: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = field(default=None, kw_only=True)
    on: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = field(default=None, kw_only=True)
    on_lost: str | None = field(default=None, kw_only=True)
    steps: Sequence[Step] = field(kw_only=True)
    finally_: Sequence[Step] | None = field(default=None, kw_only=True)

    def to_yaml(self) -> str:
        """The file that says the same; raises InvalidPipeline where it would not be a good one."""
        return self.load().text

    def load(self) -> LoadedPipeline:
        """The pipeline as its file would load; raises InvalidPipeline with places in that file."""
        return load_pipelines(write(self.document()), f"{self.pipeline}.yaml")[0]


def to_yaml(spec: PipelineSpec) -> str:
    """A file that loads to this spec; what is as by default is left out."""
    return write(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True))


def write(document: Mapping[str, Any]) -> str:
    """Plain values as YAML that reads back to them by the rules of pipeline files."""
    return yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1_000_000
    )


_SPANS = frozenset({"timeout", "backoff", "max_backoff", "grace", "pause", "cooldown"})


def _document(name: str, value: Any) -> Any:
    """A value as a file has it, by the key it is under."""
    match value:
        case _Fields():
            return value.document()
        case timedelta():
            return format_duration(value.total_seconds())
        case int() | float() if name in _SPANS and not isinstance(value, bool):
            return format_duration(value)
        case Mapping():
            return {key: _document(key, item) for key, item in value.items()}
        case str():
            return value
        case Sequence() | frozenset() | set():
            return [_document("", item) for item in value]
        case _:
            return value


def _settings(value: Any, type: FieldType | None) -> Any:
    """A value under `with` as a file has it."""
    match value:
        case timedelta():
            return format_duration(value.total_seconds())
        case int() | float() if type is DURATION and not isinstance(value, bool):
            return format_duration(value)
        case Mapping():
            return {name: _settings(item, below(type, name)) for name, item in value.items()}
        case str():
            return value
        case Sequence() | frozenset() | set():
            return [_settings(item, below(type, "")) for item in value]
        case _:
            return value


class _Dumper(yaml.SafeDumper):
    """Writes each value where it is used, scripts as blocks, and text so that it stays text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Aliases are not allowed in pipeline files."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists are indented below their key."""
        super().increase_indent(flow, False)


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if is_text(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)

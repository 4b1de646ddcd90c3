"""Files that commands read: pipeline files and parameters. FILE `-` is standard input."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gamenode_console import texts
from gamenode_console.cli.client import Client
from gamenode_console.documents import Document
from gamenode_pipelines.errors import Code, GameNodeError, InvalidPipeline
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1.pipeline_management_pb2 import PipelineSource
from gamenode_proto.v1.plan_pb2 import BundleFile

#: A pipeline file that is larger is refused by the server; there is no sense in sending it.
MAX_FILE = 1 << 20
_FILES = re.compile(r"^files:", re.MULTILINE)


def read_text(name: str) -> str:
    """The text of a file, or of standard input. Raises GameNodeError that names the file."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_FILE + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_FILE + 1)
    except OSError as error:
        code = Code.INVALID_ARGUMENT
        raise GameNodeError(code, f"cannot read {name}: {error.strerror or error}") from error
    if len(data) > MAX_FILE:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{shown(name)}:1:1: larger than 1 MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise GameNodeError(
            Code.INVALID_ARGUMENT, f"{shown(name)}:{line}:{column}: not UTF-8 (byte 0x{data[error.start]:02x})"
        ) from None


def shown(name: str) -> str:
    """What messages call a file."""
    return "<stdin>" if name == "-" else name


def read_sources(names: Sequence[str]) -> list[PipelineSource]:
    """Pipeline files, in their order. Raises GameNodeError for what cannot be read, and for standard input twice."""
    if names.count("-") > 1:
        raise click.UsageError("standard input (-) can be read only once")
    return [_source(name) for name in names]


def _source(name: str) -> PipelineSource:
    """A pipeline file, with the files that its pipelines name."""
    text = read_text(name)
    folder = Path.cwd() if name == "-" else Path(name).parent
    files = [read_beside(folder, path, shown(name)) for path in _files_named(text, name)]
    return PipelineSource(file=shown(name), text=text, files=files)


def _files_named(text: str, name: str) -> list[str]:
    """What the pipelines of a text name under `files`; of a text that is not good nothing: the server says why."""
    if not _FILES.search(text):
        return []
    from gamenode_pipelines.load import load_pipelines

    try:
        loaded = load_pipelines(text, shown(name))
    except InvalidPipeline:
        return []
    return list(dict.fromkeys(path for pipeline in loaded for path in pipeline.spec.files))


def read_beside(folder: Path, path: str, file: str) -> BundleFile:
    """A file beside a pipeline's. Raises GameNodeError where there is none, it is too large, or lies elsewhere."""
    place = folder / path
    try:
        real = place.resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{file}: files: {path} leads out of the pipeline's folder")
        if not real.is_file():
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{file}: files: {path} is not a file")
        with real.open("rb") as opened:
            content = opened.read(MAX_FILE + 1)
            mode = 0o755 if os.fstat(opened.fileno()).st_mode & 0o100 else 0o644
    except OSError as error:
        said = f"{file}: files: cannot read {path}: {error.strerror or error}"
        raise GameNodeError(Code.INVALID_ARGUMENT, said) from error
    if len(content) > MAX_FILE:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{file}: files: {path} is larger than 1 MiB")
    return BundleFile(path=path, content=content, mode=mode)


def is_file(name: str) -> bool:
    """Whether NAME|FILE means a file: standard input, a path, or something that ends like a YAML file."""
    return name == "-" or "/" in name or name.endswith((".yaml", ".yml"))


def read_params(pairs: Sequence[tuple[str, str]], file: str | None) -> dict[str, common_pb2.Value]:
    """Parameters by name: those of the file, then those of the command line, which win.

    Values of the command line stay text; the pipeline's own types decide what they are.
    """
    values: dict[str, common_pb2.Value] = {}
    if file is not None:
        values.update({name: to_value(value, name, file) for name, value in _mapping(file).items()})
    seen: set[str] = set()
    for name, text in pairs:
        if name in seen:
            raise click.UsageError(f"the parameter {name!r} is given twice")
        seen.add(name)
        values[name] = common_pb2.Value(text=text)
    return values


def _mapping(file: str) -> dict[str, Any]:
    """A params file: JSON where it is JSON, else YAML whose scalars stay text (`22:22`, `on`)."""
    text = read_text(file)
    try:
        document: Any = json.loads(text)
    except ValueError:
        import yaml

        try:
            document = yaml.load(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            problem = getattr(error, "problem", None) or "not YAML"
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{shown(file)}{where}: {problem}") from None
    if not isinstance(document, dict):
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{shown(file)}: must hold parameters, one `name: value` a line")
    return {str(name): value for name, value in document.items()}


def to_value(value: Any, name: str, file: str) -> common_pb2.Value:
    """A scalar of a params file as a parameter's value."""
    match value:
        case bool():
            return common_pb2.Value(boolean=value)
        case int() if -(2**63) <= value < 2**63:
            return common_pb2.Value(integer=value)
        case float():
            return common_pb2.Value(number=value)
        case str():
            return common_pb2.Value(text=value)
        case _:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{shown(file)}: the parameter {name!r} must be one plain value")


def problem_line(problem: Document) -> str:
    """`FILE:LINE:COLUMN: message`, with the nearest valid name."""
    kind = "warning: " if problem["warning"] else ""
    hint = f"; did you mean {problem['suggestion']!r}?" if problem["suggestion"] else ""
    return f"{problem['file']}:{problem['line']}:{problem['column']}: {kind}{problem['message']}{hint}"


def say_problems(client: Client, problems: Sequence[Document]) -> None:
    """Problems on stderr, one a line, in the order of the files."""
    for problem in problems:
        client.say(texts.one_line(problem_line(problem)), colour="yellow" if problem["warning"] else "red")

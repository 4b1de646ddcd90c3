"""A program's settings: one frozen dataclass, whose fields say default, flag, environment variable, parser and meaning.

Defaults < config file < `GAMENODE_*` environment < flags. A secret may also come from a file, by `*_FILE`. Whatever is
wrong is one GameNodeError with the file, the key and the nearest right one. YAML and click are imported only where they
are needed. The parsers are in `parsers`.

    @dataclass(frozen=True, slots=True)
    class ServerSettings:
        PROGRAM: ClassVar[str] = "server"
        listen: str = setting("0.0.0.0:7443", doc="Where agents connect.", parse=address)
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.parsers import (
    METAVARS,
    Parser,
    addresses,
    boolean,
    duration,
    integer,
    parser_for,
    path,
    positive,
    size,
    texts,
)

C = TypeVar("C")

ENVIRONMENT = "GAMENODE_"
#: Sections of a config file: one file may serve every program of a host.
PROGRAMS = ("server", "agent", "console", "client")

_KEY = "gamenode-setting"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as its field describes it."""

    name: str
    default: Any
    doc: str
    parse: Parser
    #: Without dashes, e.g. `join-listen`; also its key in the config file.
    flag: str
    secret: bool
    metavar: str
    #: Set by environment or config file only.
    hidden: bool

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT + self.flag.upper().replace("-", "_")


def setting(
    default: Any,
    *,
    doc: str,
    parse: Parser | None = None,
    flag: str | None = None,
    secret: bool = False,
    metavar: str = "",
    hidden: bool = False,
) -> Any:
    """A dataclass field that is a setting.

    `parse` turns text, or a YAML scalar or list, into the value and raises ValueError or GameNodeError with what is
    wrong; by default it follows from the type of `default`. `hidden` settings have no flag of their own.
    """
    metadata = {
        _KEY: {"doc": doc, "parse": parse, "flag": flag, "secret": secret, "metavar": metavar, "hidden": hidden}
    }
    if isinstance(default, (list, dict, set)):
        raise TypeError("a setting's default must be immutable")
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(cls: type[Any]) -> Iterator[Setting]:
    """The settings of a settings class, in their order."""
    for field in dataclasses.fields(cls):
        about = field.metadata.get(_KEY)
        if about is not None:
            parse = about["parse"] or parser_for(field.default)
            yield Setting(
                name=field.name,
                default=field.default,
                doc=about["doc"],
                parse=parse,
                flag=about["flag"] or field.name.replace("_", "-"),
                secret=about["secret"],
                metavar=about["metavar"] or METAVARS.get(parse, "TEXT"),
                hidden=about["hidden"],
            )


# --- loading ---------------------------------------------------------------------------------------------------------


def load(
    cls: type[C],
    *,
    flags: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> C:
    """The settings of `cls`, whose `PROGRAM` names its section of the file.

    `flags` are by field name, None where not given, as `options` hands them over (with `config`, the file). Raises
    GameNodeError(INVALID_ARGUMENT, or NOT_FOUND for a file that is not there).
    """
    flags = flags or {}
    env = env if env is not None else {}
    source = flags.get("config") or file or env.get(ENVIRONMENT + "CONFIG") or None
    known = list(settings_of(cls))
    values = _from_file(cls, known, path(source)) if source else {}
    for item in known:
        found = _from_environment(item, env)
        if found is not None:
            values[item.name] = found
        given = flags.get(item.name)
        if given is not None and given != ():
            values[item.name] = _parsed(item, given, f"--{item.flag}")
    try:
        return cls(**values)
    except ValueError as error:  # what a class checks between its fields
        raise GameNodeError(Code.INVALID_ARGUMENT, str(error)) from None


def _parsed(item: Setting, value: Any, place: str) -> Any:
    try:
        return item.parse(value)
    except (ValueError, GameNodeError) as error:
        message = "its value cannot be used" if item.secret else str(error)
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{place}: {message}") from None


def _from_environment(item: Setting, env: Mapping[str, str]) -> Any:
    value = env.get(item.variable)
    if item.secret and (name := env.get(item.variable + "_FILE")):
        if value is not None:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"{item.variable} and {item.variable}_FILE are both set; keep one"
            )
        return _parsed(item, _secret(name, item.variable + "_FILE"), item.variable + "_FILE")
    # An empty variable is how a shell unsets one for a single command.
    return None if value is None or value == "" else _parsed(item, value, item.variable)


def _secret(name: Any, place: str) -> str:
    try:
        return path(name).read_text().rstrip("\n")
    except (OSError, ValueError) as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{place}: cannot read {name}: {_why(error)}") from error


def _from_file(cls: type[Any], known: Sequence[Setting], source: Path) -> dict[str, Any]:
    document = _read_yaml(source)
    for key in document:
        if key not in PROGRAMS:
            raise _unknown(source, str(key), PROGRAMS)
    section = document.get(cls.PROGRAM)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{source}: {cls.PROGRAM}: must hold settings, one a line")
    by_key = {item.flag: item for item in known}
    by_key |= {f"{item.flag}-file": item for item in known if item.secret}
    values: dict[str, Any] = {}
    for key, value in section.items():
        place = f"{source}: {cls.PROGRAM}.{key}"
        item = by_key.get(key)
        if item is None:
            raise _unknown(source, str(key), tuple(by_key), section=cls.PROGRAM)
        if value is None:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{place}: has no value")
        if item.name in values:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{place}: {item.flag} and {item.flag}-file are both set")
        values[item.name] = _parsed(item, value if key == item.flag else _secret(value, place), place)
    return values


def _read_yaml(source: Path) -> dict[Any, Any]:
    import yaml

    try:
        document = yaml.safe_load(source.read_text())
    except FileNotFoundError:
        raise GameNodeError(Code.NOT_FOUND, f"the config file {source} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"cannot read the config file {source}: {_why(error)}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{source}{where}: {problem}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise GameNodeError(
            Code.INVALID_ARGUMENT, f"{source}: must hold sections ({', '.join(PROGRAMS)}) with settings in them"
        )
    return document


def _unknown(source: Path, key: str, valid: Sequence[str], *, section: str = "") -> GameNodeError:
    near = difflib.get_close_matches(key.replace("_", "-"), valid, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f" (known: {', '.join(valid)})" if not section else ""
    place = f"{section}.{key}" if section else key
    return GameNodeError(Code.INVALID_ARGUMENT, f"{source}: unknown key {place!r}{hint}")


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


# --- describing ------------------------------------------------------------------------------------------------------


def options(cls: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A click decorator with an option for each setting, and `--config`; the command gets them as `flags`, unparsed."""
    import click

    known = [item for item in settings_of(cls) if not item.hidden]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(**given: Any) -> Any:
            flags = {item.name: given.pop(item.name) for item in known}
            flags["config"] = given.pop("config")
            return command(flags=flags, **given)

        decorated: Callable[..., Any] = called
        for item in reversed(known):
            flag = f"--{item.flag}/--no-{item.flag}" if item.parse is boolean else f"--{item.flag}"
            extra: dict[str, Any] = {} if item.parse is boolean else {"metavar": item.metavar}
            decorated = click.option(flag, item.name, default=None, help=_help(item), **extra)(decorated)
        config = click.option("--config", "config", metavar="FILE", default=None, help="A YAML file with settings.")
        return config(decorated)

    return decorate


def _help(item: Setting) -> str:
    default = shown(item)
    return f"{item.doc}  [env: {item.variable}{f'; default: {default}' if default else ''}]"


def shown(item: Setting) -> str:
    """A setting's default as it would be written; empty for none and for secrets."""
    value = item.default
    if item.secret or value is None or value in ("", ()):
        return ""
    if item.parse is duration:
        from gamenode_pipelines.quantities import format_duration

        return format_duration(value)
    if item.parse is size:
        from gamenode_pipelines.quantities import format_size

        return format_size(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value)


def schema(classes: Sequence[type[Any]]) -> dict[str, Any]:
    """A JSON Schema of the config file with these programs' sections."""
    kinds: dict[Any, Any] = {
        boolean: "boolean",
        integer: "integer",
        positive: "integer",
        duration: ["string", "number"],
    }
    kinds |= {size: ["string", "integer"], texts: ["string", "array"], addresses: ["string", "array"]}
    sections: dict[str, Any] = {}
    for cls in classes:
        properties: dict[str, Any] = {}
        for item in settings_of(cls):
            other = ["string", "array"] if isinstance(item.default, tuple) else "string"
            about = {"type": kinds.get(item.parse, other), "description": item.doc}
            if default := shown(item):
                about["default"] = default
            properties[item.flag] = about
            if item.secret:
                properties[f"{item.flag}-file"] = {"type": "string", "description": f"A file that holds {item.flag}."}
        sections[cls.PROGRAM] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "GameNode configuration",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }

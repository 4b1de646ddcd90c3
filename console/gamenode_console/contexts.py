"""The user's contexts: names for the servers that this user talks to, in a small JSON file in the config dir.

A context is a data dir of this machine, or an address with a credentials file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gamenode_pipelines.errors import Code, GameNodeError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Context:
    """One server: a data dir, or an address and a credentials file. Absolute paths."""

    data_dir: str = ""
    connect: str = ""
    credentials: str = ""

    def __str__(self) -> str:
        return self.connect or self.data_dir


@dataclass(frozen=True, slots=True)
class Contexts:
    """Contexts by name, and which one is current (empty: none)."""

    current: str = ""
    entries: Mapping[str, Context] = field(default_factory=dict)

    def add(self, name: str, context: Context) -> Contexts:
        """With one more. Raises GameNodeError for a bad name, or one that is taken by another server."""
        if not _NAME.fullmatch(name):
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"{name!r} is no context name: letters, digits, '.', '_', '-', 63 at most"
            )
        if self.entries.get(name, context) != context:
            raise GameNodeError(
                Code.ALREADY_EXISTS,
                f"the context {name!r} names {self.entries[name]}; `gamenode context rm {name}` first",
            )
        return replace(self, entries={**self.entries, name: context})

    def use(self, name: str) -> Contexts:
        """With `name` as the current one. Raises GameNodeError(NOT_FOUND)."""
        self.get(name)
        return replace(self, current=name)

    def remove(self, name: str) -> Contexts:
        """Without it. Raises GameNodeError(NOT_FOUND)."""
        self.get(name)
        left = {key: value for key, value in self.entries.items() if key != name}
        return Contexts("" if self.current == name else self.current, left)

    def get(self, name: str) -> Context:
        """Where a context points. Raises GameNodeError(NOT_FOUND) with the names there are."""
        try:
            return self.entries[name]
        except KeyError:
            known = ", ".join(sorted(self.entries)) or "none yet; `gamenode context add` makes one"
            raise GameNodeError(Code.NOT_FOUND, f"there is no context {name!r} (known: {known})") from None


def file_of(env: Mapping[str, str]) -> Path:
    """Where the contexts of this user are kept."""
    configured = env.get("XDG_CONFIG_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path(env.get("HOME") or Path.home()) / ".config"
    return base / "gamenode" / "contexts.json"


def load(file: Path) -> Contexts:
    """The contexts in `file`; none where it does not exist. Raises GameNodeError where it is damaged."""
    try:
        document: Any = json.loads(file.read_text(encoding="utf-8"))
        entries = {str(name): _context(about) for name, about in document["contexts"].items()}
        return Contexts(str(document.get("current", "")), entries)
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{file} holds no contexts; move it away ({error!r})") from error


def _context(about: Mapping[str, Any]) -> Context:
    if "connect" in about:
        return Context(connect=str(about["connect"]), credentials=str(about["credentials"]))
    return Context(str(about["data_dir"]))


def save(file: Path, contexts: Contexts) -> None:
    """Replaces `file` in one step. Raises GameNodeError where it cannot be written."""
    document = {
        "current": contexts.current,
        "contexts": {
            name: {key: value for key, value in asdict(context).items() if value}
            for name, context in sorted(contexts.entries.items())
        },
    }
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        scratch.replace(file)
    except OSError as error:
        raise GameNodeError(Code.PERMISSION_DENIED, f"cannot write {file}: {error.strerror}") from error

"""The user's contexts: names for the servers that this user talks to, in a small JSON file in the config dir."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gamenode_pipelines.errors import Code, GameNodeError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Contexts:
    """Context name → data dir, and which one is current (empty: none)."""

    current: str = ""
    data_dirs: Mapping[str, str] = field(default_factory=dict)

    def add(self, name: str, data_dir: Path) -> Contexts:
        """With one more. Raises GameNodeError for a bad name, or one that is taken by another data dir."""
        if not _NAME.fullmatch(name):
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"{name!r} is no context name: letters, digits, '.', '_', '-', 63 at most"
            )
        if self.data_dirs.get(name, str(data_dir)) != str(data_dir):
            raise GameNodeError(
                Code.ALREADY_EXISTS,
                f"the context {name!r} names {self.data_dirs[name]}; `gamenode context rm {name}` first",
            )
        return replace(self, data_dirs={**self.data_dirs, name: str(data_dir)})

    def use(self, name: str) -> Contexts:
        """With `name` as the current one. Raises GameNodeError(NOT_FOUND)."""
        self.data_dir(name)
        return replace(self, current=name)

    def remove(self, name: str) -> Contexts:
        """Without it. Raises GameNodeError(NOT_FOUND)."""
        self.data_dir(name)
        left = {key: value for key, value in self.data_dirs.items() if key != name}
        return Contexts("" if self.current == name else self.current, left)

    def data_dir(self, name: str) -> Path:
        """Where a context points. Raises GameNodeError(NOT_FOUND) with the names there are."""
        try:
            return Path(self.data_dirs[name])
        except KeyError:
            known = ", ".join(sorted(self.data_dirs)) or "none yet; `gamenode context add` makes one"
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
        data_dirs = {str(name): str(about["data_dir"]) for name, about in document["contexts"].items()}
        return Contexts(str(document.get("current", "")), data_dirs)
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{file} holds no contexts; move it away ({error!r})") from error


def save(file: Path, contexts: Contexts) -> None:
    """Replaces `file` in one step. Raises GameNodeError where it cannot be written."""
    document = {
        "current": contexts.current,
        "contexts": {name: {"data_dir": data_dir} for name, data_dir in sorted(contexts.data_dirs.items())},
    }
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        scratch.replace(file)
    except OSError as error:
        raise GameNodeError(Code.PERMISSION_DENIED, f"cannot write {file}: {error.strerror}") from error

"""A notifier as the config file describes it, checked: what it hears of, when it is quiet, where it tells it.

Reads no file and sends nothing. Addresses and headers may hold secrets: what may be shown of a notifier is `target`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gamenode_pipelines.selectors import Selector
from gamenode_server.notifiers.silence import Silence


@dataclass(frozen=True, slots=True)
class Webhook:
    """An HTTP address that gets a POST. The secret signs; the files are read when the server starts."""

    url: str = field(repr=False)
    url_file: Path | None = None
    secret_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Command:
    """A program that is started with the event as JSON on its standard input. No shell."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dedupe:
    """After one message with a key, no other one with it for `window` seconds."""

    window: float
    key: str


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` messages in `per` seconds; what is more waits."""

    count: int
    per: float


@dataclass(frozen=True, slots=True)
class Notifier:
    """One notifier."""

    name: str
    way: Webhook | Command
    #: Patterns of types of events.
    events: tuple[str, ...]
    #: Of the labels of the event's node; None: every event.
    select: Selector | None
    #: Text, or values as JSON has them, with expressions.
    body: Any
    content_type: str
    timeout: float
    dedupe: Dedupe | None
    silences: Sequence[Silence]
    rate: Rate
    #: How long a message is tried, and how many may wait.
    keep: float
    queue: int

    @property
    def kind(self) -> str:
        """`webhook` or `command`."""
        return "webhook" if isinstance(self.way, Webhook) else "command"

    @property
    def target(self) -> str:
        """Where it tells, without what may be secret."""
        if isinstance(self.way, Command):
            return self.way.argv[0]
        return shown_url(self.way.url) if self.way.url else f"the address in {self.way.url_file}"

    def hears(self, event_type: str, labels: Mapping[str, str] | None) -> bool:
        """Whether an event is one of these. `labels` are its node's; None where it is of no node of the fleet."""
        if not any(fnmatchcase(event_type, pattern) for pattern in self.events):
            return False
        return self.select is None or (labels is not None and self.select.matches(labels))

    def silent(self, wall: float) -> bool:
        """Whether it is quiet at this time of the wall clock."""
        return any(silence.holds(wall) for silence in self.silences)


def shown_url(url: str) -> str:
    """A URL without its path, query and user, which are often what lets one in."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{'/…' if parts.path.strip('/') or parts.query else ''}"

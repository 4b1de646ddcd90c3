"""The kinds that look whether something is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA, TEXT, Leaf, Schema, matching, whole
from gamenode_pipelines.kinds.kind import Kind
from gamenode_pipelines.kinds.shapes import Field, ListOf, Record
from gamenode_pipelines.plan import Setting
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import text_of

PORT: Final = whole(1, 65535)
HOST: Final = matching(
    r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})?|\[?[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9]+)?\]?",
    "is not a host; write a name or an address",
    "host",
    tidy=lambda text: text.strip("[]"),
)


class _Statuses:
    """One status of HTTP, or a list of them; from 200 to 399 where it is left out."""

    word = "whole number or list"
    blank = False
    empty = tuple(range(200, 400))
    _one = whole(100, 599)
    _list = ListOf(_one)

    def check(self, value: object) -> tuple[int, ...]:
        """The statuses; raises ValueError."""
        found = self._list.check(value) if isinstance(value, list | tuple) else (self._one.check(value),)
        if not found:
            raise ValueError("is empty; name a status, or leave it out")
        return found

    def normal(self, value: object) -> Setting:
        """The statuses as a plan has them."""
        if not isinstance(value, list | tuple):
            return self._one.normal(value)
        if not value:
            raise ValueError("is empty; name a status, or leave it out")
        return self._list.normal(value)

    def schema(self) -> Schema:
        """A number or a list in a file."""
        return {"anyOf": [*self._one.schema()["anyOf"], self._list.schema()]}


def _url(value: object) -> str:
    text = text_of(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(character.isspace() for character in text):
        raise ValueError(f"{shown(text)} is not a URL; write it like http://127.0.0.1:8080/health")
    return text


URL: Final = Leaf("URL", _url, SCALAR_SCHEMA, empty="")
_MEANT: Final[Mapping[str, Any]] = {"address": "host", "hostname": "host", "ip": "host"}

CHECKS: Final = (
    Kind(
        "check.tcp",
        "Waits until something accepts connections; for 30 s unless the step says another `timeout`.",
        Record(
            {
                "host": Field(HOST, "The host, as the node sees it.", default="127.0.0.1"),
                "port": Field(PORT, "The port.", True),
            },
            "check.tcp",
            meant=_MEANT,
        ),
        idempotent=True,
    ),
    Kind(
        "check.http",
        "Asks a web server until its answer is as wanted; for 30 s unless the step says another `timeout`.",
        Record(
            {
                "url": Field(URL, "What is asked, as the node sees it.", True),
                "status": Field(_Statuses(), "The statuses that are good; 200 to 399 where it is left out."),
                "contains": Field(TEXT, "What the answer's text must contain."),
            },
            "check.http",
            meant={"uri": "url", "address": "url", "code": "status", "body": "contains"},
        ),
        idempotent=True,
        outputs={"status": "the status of the answer that was good"},
    ),
)

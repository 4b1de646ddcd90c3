"""Reads the `notifiers` of the config file. Whatever is wrong is a ValueError that says where and what was meant."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from gamenode_pipelines import selectors
from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.wording import listed, nearest
from gamenode_proto.process.parsers import duration, path, positive
from gamenode_server.notifiers import messages
from gamenode_server.notifiers.silence import DAYS, Hours, Silence, Until, minutes, moment
from gamenode_server.notifiers.spec import Command, Dedupe, Notifier, Rate, Webhook

R = TypeVar("R")

MOST_NOTIFIERS = 50
MOST_WAITING = 100_000
DAY = 86_400.0
#: What types of events begin with.
FAMILIES = ("agent", "artifact", "container", "engine", "instance", "node", "notifier", "pipeline", "run", "schedule",
            "step", "sync", "task", "token", "trigger", "user")  # fmt: skip

_COMMON = ("name", "type", "events", "select", "timeout", "dedupe", "silence", "rate", "keep", "queue")
_WEBHOOK = ("url", "url-file", "secret-file", "ca-file", "headers", "format", "body", "content-type")
KEYS = {"webhook": (*_COMMON, *_WEBHOOK), "command": (*_COMMON, "command")}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATTERN = re.compile(r"[a-z_*?]+(\.[a-z_*?]+)*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_OURS = frozenset({"host", "content-length", "content-type", "connection", "transfer-encoding", "user-agent"})


def as_written(value: Any) -> tuple[dict[str, Any], ...]:
    """A setting's parser: the list as it is written, once all of it has been read without fault, paths made whole."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError("is a list, and stands in the config file only: docs/notifiers.md has examples")
    written = tuple(_whole(item, f"[{number}]") for number, item in enumerate(value))
    read(written)
    return written


def read(written: Sequence[Mapping[str, Any]]) -> tuple[Notifier, ...]:
    """The notifiers. Raises ValueError."""
    if len(written) > MOST_NOTIFIERS:
        raise ValueError(f"{len(written)} are too many; there can be {MOST_NOTIFIERS}")
    found: dict[str, Notifier] = {}
    for number, item in enumerate(written):
        notifier = _notifier(item, f"[{number}]")
        if notifier.name in found:
            raise ValueError(f"[{number}].name: {notifier.name!r} is there twice")
        found[notifier.name] = notifier
    return tuple(found.values())


def _whole(item: Any, place: str) -> dict[str, Any]:
    """The item with what another process can read from another folder: whole paths, no dates."""
    if not isinstance(item, Mapping):
        raise ValueError(f"{place}: must hold keys such as name, type and events")
    try:
        whole: dict[str, Any] = json.loads(json.dumps(dict(item), default=str, allow_nan=False))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: cannot be written as JSON: {error}") from None
    for key in ("url-file", "secret-file", "ca-file"):
        if isinstance(whole.get(key), str):
            whole[key] = str(path(whole[key]))
    return whole


def _notifier(item: Mapping[str, Any], place: str) -> Notifier:
    name = _at(place, "name", _name, item.get("name"))
    place = f"{place} ({name})"
    kind = item.get("type", "webhook")
    if kind not in KEYS:
        raise ValueError(f"{place}.type: {kind!r} is not one of {listed(KEYS)}")
    _known(item, KEYS[kind], place)
    way, body, content_type = _webhook(item, place) if kind == "webhook" else (_command(item, place), {}, "")
    return Notifier(
        name=name,
        way=way,
        events=_at(place, "events", _events, item.get("events")),
        select=_at(place, "select", _selector, item["select"]) if "select" in item else None,
        body=body,
        content_type=content_type,
        timeout=_at(place, "timeout", _between(0.1, 120.0), item.get("timeout", 10)),
        dedupe=_dedupe(item["dedupe"], f"{place}.dedupe") if "dedupe" in item else None,
        silences=_silences(item.get("silence", ()), f"{place}.silence"),
        rate=_rate(item["rate"], f"{place}.rate") if "rate" in item else Rate(60, 60.0),
        keep=_at(place, "keep", _between(1.0, 30 * DAY), item.get("keep", DAY)),
        queue=_at(place, "queue", _waiting, item.get("queue", 1000)),
    )


def _webhook(item: Mapping[str, Any], place: str) -> tuple[Webhook, Any, str]:
    if ("url" in item) == ("url-file" in item):
        raise ValueError(f"{place}: needs one of url and url-file")
    if "format" in item and "body" in item:
        raise ValueError(f"{place}: has both format and body; a format is a body that is there already")
    chosen = item.get("format", "json")
    if chosen not in messages.FORMATS:
        raise ValueError(f"{place}.format: {chosen!r} is not one of {listed(messages.FORMATS)}")
    body = item.get("body", messages.FORMATS[chosen])
    if not isinstance(body, str | dict | list):
        raise ValueError(f"{place}.body: must be text, or a mapping or list that becomes JSON")
    _tried(f"{place}.body", lambda: messages.body(body, messages.sample(id="x", wall=0.0)))
    content_type = item.get("content-type", messages.PLAIN if isinstance(body, str) else messages.JSON)
    webhook = Webhook(
        url=_at(place, "url", checked_url, item["url"]) if "url" in item else "",
        headers={**_headers(item.get("headers", {}), f"{place}.headers")},
        **{key.replace("-", "_"): _at(place, key, path, item[key]) for key in _WEBHOOK[1:4] if key in item},
    )
    return webhook, body, _at(place, "content-type", _header_value, content_type)


def _command(item: Mapping[str, Any], place: str) -> Command:
    argv = item.get("command")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise ValueError(f"{place}.command: must be a list of texts: a program and its arguments; no shell reads it")
    if not Path(argv[0]).is_absolute():
        raise ValueError(f"{place}.command: {argv[0]!r} must be a whole path, such as /usr/local/bin/page")
    return Command(tuple(argv))


def checked_url(value: Any) -> str:
    """An http or https URL. Raises ValueError, without the URL in it."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("is not a URL (ASCII, without spaces)")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is not a URL that begins with https:// or http://")
    if parts.username is not None:
        raise ValueError("has a user in it; put an Authorization header under headers")
    return value


def _headers(value: Any, place: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place}: must hold names and values")
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise ValueError(f"{place}: {name!r} is not a header's name")
        if name.lower() in _OURS or name.lower().startswith("webhook-"):
            raise ValueError(f"{place}: {name} is set by GameNode itself")
        _at(place, name, _header_value, text)
    return {name: str(text) for name, text in value.items()}


def _header_value(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ValueError("must be one line of ASCII text")
    return value


def _events(value: Any) -> tuple[str, ...]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not patterns:
        raise ValueError("which? a list of types such as run.failed, node.*")
    for pattern in patterns:
        if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
            raise ValueError(f"{pattern!r} is not a type of events such as run.failed, or a pattern such as node.*")
        family = pattern.partition(".")[0]
        if not set(family) & {"*", "?"} and family not in FAMILIES:
            close = nearest(family, FAMILIES)
            hint = f"; did you mean {close!r}?" if close else f"; they begin with {listed(FAMILIES, 20)}"
            raise ValueError(f"no event begins with {family!r}{hint}")
    return tuple(patterns)


def _dedupe(value: Any, place: str) -> Dedupe:
    _known(_mapping(value, place), ("window", "key"), place)
    if "window" not in value:
        raise ValueError(f"{place}: needs a window, such as 10m")
    key = value.get("key", "${{ event.type }}/${{ event.node_id }}/${{ event.pipeline }}")
    if not isinstance(key, str):
        raise ValueError(f"{place}.key: must be text with expressions")
    _tried(f"{place}.key", lambda: messages.key(key, messages.sample(id="x", wall=0.0)))
    return Dedupe(_at(place, "window", _between(1.0, 7 * DAY), value["window"]), key)


def _silences(value: Any, place: str) -> tuple[Silence, ...]:
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"{place}: must be a list of windows")
    return tuple(_silence(item, f"{place}[{number}]") for number, item in enumerate(items))


def _silence(value: Any, place: str) -> Silence:
    if "until" in _mapping(value, place):
        _known(value, ("until",), place)
        return Until(_at(place, "until", moment, value["until"]))
    _known(value, ("from", "to", "days", "timezone"), place)
    if "from" not in value or "to" not in value:
        raise ValueError(f"{place}: needs from and to, or until")
    days = value.get("days", list(DAYS))
    if not isinstance(days, list) or not days or not all(day in DAYS for day in days):
        raise ValueError(f"{place}.days: {days!r} must be a list of {listed(DAYS)}")
    return Hours(
        begin=_at(place, "from", minutes, value["from"]),
        end=_at(place, "to", minutes, value["to"]),
        days=frozenset(map(DAYS.index, days)),
        zone=_at(place, "timezone", _zone, value.get("timezone", "UTC")),
    )


def _zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ValueError, OSError, KeyError, TypeError):
        raise ValueError(f"{value!r} is not a time zone such as Europe/Berlin") from None


def _rate(value: Any, place: str) -> Rate:
    _known(_mapping(value, place), ("count", "per"), place)
    count = _at(place, "count", positive, value.get("count", 60))
    return Rate(count, _at(place, "per", _between(0.1, DAY), value.get("per", 60)))


def _waiting(value: Any) -> int:
    if positive(value) > MOST_WAITING:
        raise ValueError(f"at most {MOST_WAITING} may wait")
    return positive(value)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: small letters, digits and dashes, at most 63")
    return value


def _selector(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a selector such as role=game")
    return selectors.parse(value)


def _between(least: float, most: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        found = duration(value)
        if not least <= found <= most:
            raise ValueError(f"must be between {least:g} s and {most:g} s")
        return found

    return parse


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place}: must hold keys and values")
    return value


def _known(value: Mapping[str, Any], keys: Sequence[str], place: str) -> None:
    for key in value:
        if key not in keys:
            close = nearest(str(key), keys)
            raise ValueError(f"{place}: unknown key {key!r}{f'; did you mean {close!r}?' if close else ''}")


def _at(place: str, key: str, parse: Callable[[Any], R], value: Any) -> R:
    try:
        return parse(value)
    except (ValueError, GameNodeError) as error:
        raise ValueError(f"{place}.{key}: {error}") from None


def _tried(place: str, work: Callable[[], object]) -> None:
    try:
        work()
    except GameNodeError as error:
        raise ValueError(f"{place}: {error.message}") from None

"""Values that steps of any kind could be given, as a file has them, for property tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.kinds.commands import Command
from gamenode_pipelines.kinds.fields import FieldType
from gamenode_pipelines.kinds.shapes import Field, ListOf, MappingOf, Record
from gamenode_pipelines.plan import GROUP

_TEXT = st.sampled_from(["x", "", "a b", "0.10", "true", "~", "'", "a: b", "# x", "x\ny\n", "é ☃", "- x", "1e3"])
_TEMPLATE = st.sampled_from(["${{ node.name }}", "x-${{ node.name }}", "${{ node.labels.a | default('1') }}"])
_COMMANDS = st.sampled_from(
    ["serve", "a 'b c' d", "serve --name '${{ node.name }} x'", "${{ node.name }}", ["sh", "-c", "x"], ["a", ""], []]
)
_DURATIONS = st.sampled_from(["0s", "90s", "1h30m", "250ms", "1.5s", "1d"])
_NAMES = st.sampled_from(["oa", "oa-1", "a.b_c"])
_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "name": _NAMES,
    "image": st.sampled_from(["oa", "gn/oa:1", "r.example.com:5000/oa@sha256:ab"]),
    "pull": st.sampled_from(["missing", "always", "never"]),
    "ports": st.lists(st.sampled_from(["80", "auto:81/udp", "[::1]:9:9", "1-3:1-3/sctp"]), unique=True, max_size=4),
    "volumes": st.lists(st.sampled_from(["/a:/b", "maps:/maps:ro", "maps:/m:rw"]), max_size=3),
    "tmpfs": st.sampled_from([{"/run": "size=1m"}, ["/run", "/tmp:size=1m"], ["${{ node.name }}"], {}]),
    "devices": st.lists(st.sampled_from(["/dev/x", "/dev/x:/dev/y:rw"]), max_size=2),
    "gpus": st.sampled_from(["all", 2, "GPU-1,GPU-2", "device=0"]),
    "cap_add": st.lists(st.sampled_from(["NET_ADMIN", "cap_kill", "ALL"]), max_size=2),
    "cap_drop": st.lists(st.sampled_from(["ALL", "Chown"]), max_size=2),
    "network": st.sampled_from(["host", "none", "container:oa"]),
    "hostname": st.sampled_from(["a", "a.example.com"]),
    "workdir": st.sampled_from(["/", "/srv/maps"]),
    "restart": st.sampled_from(["no", "always", "on-failure", "on-failure:3", "unless-stopped"]),
    "ulimits": st.dictionaries(st.sampled_from(["nofile", "core"]), st.sampled_from([5, "1:2", "-1", "0:-1"])),
    "test": st.sampled_from(["curl x", ["curl", "${{ node.name }}"], "NONE", ["CMD-SHELL", "a b"]]),
    "stop": st.sampled_from(
        [
            {},
            {"grace": "5s", "signal": "sigint"},
            {"command": "say 'bye now'", "via": "stdin"},
            {"command": "a 'b c' ${{ node.name }}"},
            {"command": ["x"], "via": "${{ node.name }}"},
        ]
    ),
    "from": st.sampled_from(["/x.tar", "${{ node.name }}"]),
    "path": st.sampled_from(["x", "/srv/x/y"]),
    "mode": st.sampled_from(["644", "0640", "0o755"]),
    "sha256": st.sampled_from(["a" * 64, "0123456789ABCDEF" * 4]),
    "max_size": st.sampled_from(["1g", "10k"]),
    "url": st.sampled_from(["http://a", "https://[::1]:8443/x?y=z"]),
    "status": st.sampled_from([200, [200, 204], "${{ node.labels.status }}"]),
    "host": st.sampled_from(["127.0.0.1", "[::1]", "game.example.com"]),
    "port": st.integers(1, 65535),
    "commands": st.lists(st.sampled_from(["status", "say ${{ node.name }}"]), min_size=1, max_size=3),
    "announce": st.just("say x"),
    "lock_command": st.just("lock"),
    "on_deadline": st.just("fail"),
    "players": st.integers(0, 9),
    "pids": st.integers(1, 4_194_304),
    "pattern": st.just("^x+$"),
    "retries": st.integers(1, 1000),
}
_BY_WORD: dict[str, st.SearchStrategy[Any]] = {
    "text": _TEXT | _TEMPLATE | st.integers(0, 9),
    "true or false": st.booleans() | _TEMPLATE,
    "cores": st.floats(0.01, 64) | _TEMPLATE,
    "size": st.sampled_from(["512m", "1.5g", "1023b", 4096]) | _TEMPLATE,
    "duration": _DURATIONS | _TEMPLATE,
    "seconds or duration": _DURATIONS | st.integers(1, 99),
}


_GATES: list[dict[str, Any]] = [
    {},
    {"deadline": "1h", "on_deadline": "force"},
    {"rcon": {"protocol": "source", "password": "${{ node.name }}"}, "announce": "say ${{ node.name }}"},
    {"rcon": {"protocol": "quake3", "port": 5, "password": "x"}, "lock_command": "lock"},
]


@st.composite
def uses(draw: st.DrawFn, kinds: Iterable[str] = KINDS) -> dict[str, Any]:
    """A kind, and what it could be given."""
    kind = draw(st.sampled_from(sorted(kinds)))
    with_ = draw(_record(KINDS[kind].record))
    if kind == "container.wait":
        with_ = {"name": with_["name"], **draw(st.sampled_from([{"for": "log", "pattern": "^x+$"}, {"for": "exited"}]))}
    if kind == "file.fetch":
        with_ = {name: with_[name] for name in with_ if name not in ("from", "url")}
        with_ = {"sha256": "a" * 64, **with_, **draw(st.sampled_from([{"from": "maps.tar"}, {"url": "http://a"}]))}
    if kind == "game.gate":
        with_ = {name: with_[name] for name in with_ if name not in ("announce", "lock_command", "on_deadline", "rcon")}
        with_ = {**with_, **draw(st.sampled_from(_GATES))}
    if kind == GROUP:
        with_ = {**with_, "name": "another-one"}
    return {"uses": kind, "with": with_}


def _record(record: Record) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: entry for name, entry in record.fields.items() if not entry.later}
    return st.fixed_dictionaries(
        {name: _field(name, entry) for name, entry in fields.items() if entry.required},
        optional={name: _field(name, entry) for name, entry in fields.items() if not entry.required},
    )


def _field(name: str, entry: Field) -> st.SearchStrategy[Any]:
    values = _BY_NAME[name] if name in _BY_NAME else _of(entry.type)
    return values.filter(lambda value: value not in ("", [])) if entry.required else values


def _of(type: FieldType) -> st.SearchStrategy[Any]:
    if isinstance(type, Record):
        return _record(type)
    if isinstance(type, ListOf):
        return st.lists(_of(type.item), max_size=3)
    if isinstance(type, MappingOf):
        return st.dictionaries(st.sampled_from(["A", "B_c", "d"]), _of(type.value), max_size=3)
    if isinstance(type, Command):
        return _COMMANDS
    words = [word.strip("` ") for word in type.word.split("|")]
    return st.sampled_from(words) if len(words) > 1 else _BY_WORD[type.word]

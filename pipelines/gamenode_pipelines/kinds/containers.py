"""The kinds that work with containers, and every field of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gamenode_pipelines.artifacts import check_reference
from gamenode_pipelines.kinds import engine_values as engine
from gamenode_pipelines.kinds.commands import COMMAND
from gamenode_pipelines.kinds.fields import (
    ABSOLUTE_PATH,
    CORES,
    DURATION,
    FLAG,
    SCALAR_SCHEMA,
    SECONDS,
    SIZE,
    TEXT,
    Leaf,
    is_template,
    whole,
    without_dots,
    words,
)
from gamenode_pipelines.kinds.healthcheck import HEALTHCHECK
from gamenode_pipelines.kinds.kind import Kind
from gamenode_pipelines.kinds.ports import PORTS
from gamenode_pipelines.kinds.shapes import Field, ListOf, MappingOf, Record
from gamenode_pipelines.kinds.stopping import STOP
from gamenode_pipelines.kinds.volumes import VOLUMES
from gamenode_pipelines.kinds.wrong import Item
from gamenode_pipelines.placement import ENGINE
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import text_of

_LONGEST_PATTERN: Final = 300
#: What a search in linear time cannot have, in a pattern without what only looks like it.
_PLAIN: Final = re.compile(r"\\[^1-9]|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_SLOW: Final = re.compile(r"\\[1-9]|\(\?(?:<?[=!]|[>(#]|P=)|[*+?}]\+")
RESOURCES: Final = Record(
    {
        "cpus": Field(CORES, "Cores."),
        "memory": Field(SIZE, "Memory; what needs more is killed (`oom_killed`)."),
        "pids": Field(whole(1, 4_194_304), "Processes and threads."),
        "ulimits": Field(engine.ULIMITS, "Limits of each process: `{nofile: 4096}`, `{nofile: 1024:4096}`."),
    },
    name="`resources`",
    meant={"mem_limit": "memory", "mem": "memory", "cpu": "cpus", "nano_cpus": "cpus", "pids_limit": "pids"},
)
LOGGING: Final = Record(
    {
        "driver": Field(TEXT, "The engine's log driver; its own default where it is left out."),
        "options": Field(MappingOf(TEXT), "Options of the driver."),
    },
    name="`logging`",
    meant={"type": "driver", "log_driver": "driver", "config": "options", "opts": "options"},
)
_FIELDS: Final[Mapping[str, Field]] = {
    "name": Field(engine.NAME, "The container's name, the same for whoever asks for it.", True),
    "image": Field(engine.IMAGE, "The image it is made from.", True),
    "pull": Field(words(("missing", "always", "never")), "When the image is got from its registry.", default="missing"),
    "command": Field(COMMAND, "What runs in it, instead of the image's own."),
    "entrypoint": Field(COMMAND, "What the command is given to, instead of the image's own; `[]` for nothing."),
    "env": Field(engine.ENV, "Environment variables; before those of step and pipeline."),
    "secrets": Field(
        MappingOf(TEXT), "", later="`secrets`; mount a file of the node with `volumes`, read-only, meanwhile"
    ),
    "ports": Field(PORTS, "Published ports: `[HOST_IP:][HOST:]PORT[/udp]`, `auto` for a free one, ranges."),
    "volumes": Field(VOLUMES, "Mounts: `SOURCE:TARGET[:ro]`, the source a path of the node or a volume's name."),
    "tmpfs": Field(engine.TMPFS, "Folders in memory: `{/run: size=16m}` or `[/run]`."),
    "shm_size": Field(SIZE, "Size of /dev/shm."),
    "devices": Field(ListOf(engine.DEVICE), "Devices of the node: `/dev/x[:/dev/y[:rwm]]`."),
    "gpus": Field(engine.GPUS, "`all`, how many, or their ids with commas between."),
    "cap_add": Field(ListOf(engine.CAPABILITY), "Kernel capabilities to add."),
    "cap_drop": Field(ListOf(engine.CAPABILITY), "Kernel capabilities to drop."),
    "security_opt": Field(ListOf(TEXT), "Security options, like `no-new-privileges`."),
    "sysctls": Field(engine.SYSCTLS, "Kernel parameters of its own."),
    "privileged": Field(FLAG, "Everything that the node's root may do."),
    "network": Field(engine.NETWORK, "The network it joins: `bridge`, `host`, `none` or one by name."),
    "hostname": Field(engine.HOSTNAME, "What it calls itself."),
    "user": Field(TEXT, "The user it runs as, `USER[:GROUP]`, instead of the image's own."),
    "workdir": Field(ABSOLUTE_PATH, "The folder in it where it starts, instead of the image's own."),
    "init": Field(FLAG, "Whether a small init runs first and reaps what is left behind."),
    "tty": Field(FLAG, "Whether it has a terminal."),
    "stdin_open": Field(FLAG, "Whether its input stays open; it does where `stop.via` is `stdin`."),
    "labels": Field(engine.LABELS, "Labels of the container."),
    "resources": Field(RESOURCES, "What it may use."),
    "restart": Field(engine.RESTART, "When the agent starts it again after it has ended.", default="no"),
    "healthcheck": Field(HEALTHCHECK, "How the engine sees whether it is well, instead of the image's own."),
    "stop": Field(STOP, "How it is ended, whoever asks for it."),
    "logging": Field(LOGGING, "Where the engine keeps its log."),
    "replace": Field(FLAG, "Whether one of ours that has the name, made otherwise, is replaced."),
}


def _needs_engine(values: Mapping[str, Any]) -> frozenset[str]:
    return frozenset({ENGINE})


def _needs(values: Mapping[str, Any]) -> frozenset[str]:
    """The engine, and what of it can be told from what is given literally."""
    found = {ENGINE}
    if values.get("gpus"):
        found.add(f"{ENGINE}.gpus")
    network = values.get("network")
    if isinstance(network, str) and network not in ("", "default") and not is_template(network) and ":" not in network:
        found.add(f"{ENGINE}.network.{network}")
    resources = values.get("resources") or {}
    found |= {
        f"{ENGINE}.limits.{name}"
        for name in ("cpus", "memory", "pids")
        if name in resources and not is_template(resources[name])
    }
    return frozenset(found)


def _waited(values: Mapping[str, Any]) -> Iterable[Item]:
    """A pattern is for the log alone, which needs it."""
    for_ = values.get("for", "running")
    if for_ == "log" and not values.get("pattern"):
        yield Item(("pattern",), "`pattern` is missing: `for: log` waits for a line that it matches", missing=True)
    elif for_ != "log" and not is_template(for_) and values.get("pattern"):
        yield Item(("pattern",), "belongs to `for: log`")


def _expression(value: object) -> str:
    text = text_of(value)
    if len(text) > _LONGEST_PATTERN:
        raise ValueError(f"has {len(text)} characters; at most {_LONGEST_PATTERN} are allowed")
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    if found := _SLOW.search(_PLAIN.sub("x", text)):
        raise ValueError(
            f"has {shown(found[0])} in it, with which a search can take for ever: no lookaround, no back reference"
        )
    return text


def _archive(value: object) -> str:
    text = without_dots(value)
    return text if text.startswith("/") else check_reference(text)


_MEANT: Final = {
    "environment": "env", "envs": "env", "container_name": "name", "mem_limit": "resources.memory",
    "memory": "resources.memory", "mem": "resources.memory", "pids": "resources.pids", "pids_limit": "resources.pids",
    "cpus": "resources.cpus", "cpu": "resources.cpus", "nano_cpus": "resources.cpus", "cpu_limit": "resources.cpus",
    "ulimits": "resources.ulimits", "limits": "resources", "deploy": "resources", "mounts": "volumes",
    "volume": "volumes", "binds": "volumes", "publish": "ports", "port": "ports", "expose": "ports",
    "port_bindings": "ports", "network_mode": "network", "networks": "network", "net": "network",
    "working_dir": "workdir", "working_directory": "workdir", "interactive": "stdin_open", "args": "command",
    "cmd": "command", "run": "command", "pull_policy": "pull", "restart_policy": "restart", "force": "replace",
    "stop_command": "stop.command", "stop_signal": "stop.signal", "stop_grace_period": "stop.grace",
    "stop_timeout": "stop.grace", "grace": "stop.grace", "log_driver": "logging.driver", "log_opt": "logging.options",
    "log_options": "logging.options", "health_check": "healthcheck", "capabilities": "cap_add",
    "device_requests": "gpus", "shm": "shm_size",
}  # fmt: skip
_MADE: Final = {
    "id": "the container's id",
    "name": "its name",
    "image_id": "the image's id",
    "address": "its address in its network",
    "port": "the node's port of the first mapping",
    "ports": 'all of them, as JSON: `{"27960/udp": 28000}`',
}
_NAME: Final = _FIELDS["name"]
_ENDING: Final = {
    "name": _NAME,
    "grace": Field(DURATION, "How long it may take to end before it is killed; its own `stop.grace` where left out."),
    "force": Field(FLAG, "Whether it is killed at once."),
}
_JOB: Final = {name: field for name, field in _FIELDS.items() if name != "restart"} | {
    "name": Field(engine.NAME, "The container's name; made from the task and the step where it is left out.")
}
_STATES: Final = words(("healthy", "running", "exited", "log"))

CONTAINERS: Final = (
    Kind(
        "container.pull",
        "Gets an image from its registry.",
        Record({"image": Field(engine.IMAGE, "The image.", True)}, "container.pull"),
        idempotent=True,
        capabilities=_needs_engine,
        outputs={"image": "the image as it was asked for", "image_id": "its id"},
    ),
    Kind(
        "container.load",
        "Loads the images of a `docker save` archive; no registry is asked.",
        Record(
            {
                "from": Field(
                    Leaf("path from / or artifact", _archive, SCALAR_SCHEMA, empty=""),
                    "The archive on the node, or an artifact by name or digest.",
                    True,
                )
            },
            "container.load",
            meant={
                "path": "from",
                "file": "from",
                "archive": "from",
                "input": "from",
                "image": "from",
                "artifact": "from",
            },
        ),
        idempotent=True,
        capabilities=_needs_engine,
        outputs={"image": "the first image's tag, or its id", "image_id": "its id", "images": "every tag, one a line"},
    ),
    Kind(
        "container.run",
        "Starts a container and leaves it running.",
        Record(_FIELDS, "container.run", meant=_MEANT),
        idempotent=True,
        capabilities=_needs,
        outputs=_MADE,
    ),
    Kind(
        "container.job",
        "Runs a container to its end; its exit code is the step's.",
        Record(_JOB, "container.job", meant=_MEANT),
        capabilities=_needs,
    ),
    Kind(
        "container.exec",
        "Runs a command in a container that runs; its exit code is the step's.",
        Record(
            {
                "name": _NAME,
                "command": Field(COMMAND, "The command and its arguments.", True),
                "user": Field(TEXT, "The user it runs as; the container's where it is left out."),
                "workdir": Field(ABSOLUTE_PATH, "The folder it starts in; the container's where it is left out."),
            },
            "container.exec",
            meant={"container": "name", "cmd": "command", "args": "command", "run": "command"},
        ),
        capabilities=_needs_engine,
    ),
    Kind(
        "container.wait",
        "Waits until a container is healthy, runs, has ended, or its log says something.",
        Record(
            {
                "name": _NAME,
                "for": Field(_STATES, "What is waited for.", default="running"),
                "pattern": Field(
                    Leaf("regular expression", _expression, SCALAR_SCHEMA, empty=""),
                    "What a line of the log must match, with `for: log`; no lookaround, no back reference.",
                ),
                "seconds": Field(SECONDS, "How long it is waited for; as long as the step may take where left out."),
            },
            "container.wait",
            _waited,
            {"container": "name", "until": "for", "state": "for", "regex": "pattern", "timeout": "seconds"},
        ),
        idempotent=True,
        capabilities=_needs_engine,
        outputs={
            "id": "the container's id, with `running` and `healthy`",
            "address": "its address, with the same",
            "exit_code": "its exit code, with `exited`",
            "line": "the line that matched, with `log`",
        },
    ),
    *(
        Kind(
            name,
            summary,
            Record(_ENDING, name, meant={"container": "name", "timeout": "grace", "kill": "force"}),
            idempotent=name != "container.restart",
            capabilities=_needs_engine,
        )
        for name, summary in (
            ("container.stop", "Ends a container, which is then not started again."),
            ("container.restart", "Ends a container and starts it again."),
            ("container.remove", "Ends a container where it runs, and removes it."),
        )
    ),
)

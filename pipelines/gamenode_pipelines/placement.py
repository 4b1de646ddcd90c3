"""Chooses the nodes of a run, and says of every node why it was chosen or not.

Pure: what is known of the nodes is an argument. Numbers that a node has not reported are not held against it; the agent
checks them again before it starts.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, assert_never

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.quantities import format_size
from gamenode_pipelines.rollout import Order
from gamenode_pipelines.selectors import Selector, parse
from gamenode_pipelines.states import AdminState, NodeState
from gamenode_pipelines.wording import listed, nearest, shown

#: The capability of a node whose container engine answers; those of the engine itself begin with it and a dot.
ENGINE: Final = "docker"
_NO_ENGINE: Final = "has no container engine that answers"


@dataclass(frozen=True, slots=True)
class Requires:
    """What a node must have; `None` asks for nothing."""

    cpus: float | None = None
    memory: int | None = None
    disk: int | None = None


#: Asks for nothing, and nothing is kept.
ANYTHING: Final = Requires()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node as far as placement cares. `None` is a number that is not known; bytes, cores, counts."""

    node_id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    state: NodeState = NodeState.ONLINE
    admin_state: AdminState = AdminState.ACTIVE
    tasks_running: int = 0
    slots: int = 8
    cpus: float | None = None
    memory_available: int | None = None
    disk_free: int | None = None
    #: What it can do, in words such as `docker` and `docker.gpus`; None where it has not said.
    capabilities: frozenset[str] | None = None
    #: Why its container engine cannot be used; empty while it can, or where nobody knows.
    engine_problem: str = ""
    #: What of its resources is kept for tasks that have not ended.
    kept: Requires = ANYTHING


@dataclass(frozen=True, slots=True)
class Request:
    """Which nodes are wanted: those that match every selector and, where `nodes` names some (by id or name), are named.

    `all` says that "every node" is meant where neither selectors nor nodes narrow it; without it that takes a fleet of
    one. `count` is how many of them: the best placed; `None` means all. `capabilities` are what each must
    be able to do.
    """

    selectors: Sequence[str | Selector] = ()
    nodes: Sequence[str] = ()
    all: bool = False
    count: int | None = None
    requires: Requires = ANYTHING
    capabilities: frozenset[str] = frozenset()
    #: Why nodes lack something that is known elsewhere, such as a free port, by their ids.
    lacking: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """Why a node is, or is not, part of a run."""

    node_id: str
    name: str
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """The nodes of a run, best first where some were left out, else by name; and what was thought of every node."""

    chosen: tuple[Candidate, ...]
    considered: tuple[Choice, ...]


def choose(candidates: Iterable[Candidate], request: Request) -> Placement:
    """The nodes for a run.

    A node is taken only while it is active, by a selector or by `all` only while it is reachable; named, it is also
    taken while offline: the run waits for it. Raises GameNodeError: INVALID_ARGUMENT where it is not said which nodes
    are meant, NOT_FOUND where a named node does not exist or no node fits, STATE_CONFLICT where a named node is in a
    state that takes no work, INSUFFICIENT_RESOURCES, with the figures, where there is not enough or a node lacks a
    capability, ENGINE_UNAVAILABLE where all that is lacking is the container engine.
    """
    fleet = sorted(candidates, key=lambda candidate: (candidate.name, candidate.node_id))
    selectors = [parse(selector) if isinstance(selector, str) else selector for selector in request.selectors]
    if not request.nodes and not request.all and not any(selectors) and len(fleet) > 1:
        raise GameNodeError(
            Code.INVALID_ARGUMENT,
            f"there are {len(fleet)} nodes and no targets; say which: --node NODE, -l SELECTOR or --all",
        )
    if not fleet:
        raise GameNodeError(Code.NOT_FOUND, "there is no node yet; join one with `gamenode node token`")
    named = _named(fleet, request.nodes)
    refusals: dict[str, str] = {}
    short = _Short()
    fit: list[Candidate] = []
    for candidate in fleet:
        if reason := _outside(candidate, selectors, named) or _closed(candidate, bool(named)):
            refusals[candidate.node_id] = reason
        elif reason := _lacking(candidate, request):
            short[candidate.node_id] = reason
        else:
            fit.append(candidate)
    if named:
        _check_named([candidate for candidate in fleet if candidate.node_id in named], refusals, short)
    wanted = request.count
    if wanted is not None and len(fit) < wanted and (fit or short):
        _too_few(fleet, len(fit), wanted, refusals, short)
    if not fit:
        _nobody(fleet, refusals, short)
    chosen = fit if wanted is None or wanted >= len(fit) else sorted(fit, key=_rank)[:wanted]
    return Placement(tuple(chosen), tuple(_choices(fleet, chosen, wanted, refusals | short)))


def ordered(chosen: Iterable[Candidate], order: Order, seed: str) -> list[Candidate]:
    """The nodes of a run as their turn comes; `seed` makes a random order the same whenever it is asked for."""
    by_name = sorted(chosen, key=lambda candidate: (candidate.name, candidate.node_id))
    match order:
        case Order.NAME:
            return by_name
        case Order.LOAD:
            return sorted(by_name, key=_rank)
        case Order.RANDOM:
            random.Random(seed).shuffle(by_name)
            return by_name
        case _:
            assert_never(order)


def _named(fleet: Sequence[Candidate], nodes: Sequence[str]) -> frozenset[str]:
    """The ids of the named nodes; raises NOT_FOUND where there is none of a name."""
    ids: dict[str, set[str]] = {}
    for candidate in fleet if nodes else ():
        for name in (candidate.node_id, candidate.name):
            ids.setdefault(name, set()).add(candidate.node_id)
    found: set[str] = set()
    unknown: list[str] = []
    for name in nodes:
        found |= ids.get(name, set())
        if name not in ids:
            close = nearest(name, [candidate.name for candidate in fleet])
            unknown.append(shown(name) + (f" (did you mean {close!r}?)" if close else ""))
    if unknown:
        raise GameNodeError(Code.NOT_FOUND, f"there is no node {listed(unknown)}")
    return frozenset(found)


def _outside(candidate: Candidate, selectors: Sequence[Selector], named: frozenset[str]) -> str:
    """Why a node is not meant, or nothing."""
    if named and candidate.node_id not in named:
        return "not named"
    for selector in selectors:
        for requirement in selector.requirements:
            if not requirement.matches(candidate.labels):
                return f"does not match {requirement}"
    return ""


def _closed(candidate: Candidate, named: bool) -> str:
    """Why a node takes no work now, or nothing."""
    match candidate.admin_state:
        case AdminState.ACTIVE:
            pass
        case AdminState.CORDONED:
            return f"cordoned; gamenode node uncordon {candidate.name}"
        case AdminState.DISABLED:
            return f"disabled; gamenode node enable {candidate.name}"
        case AdminState.DRAINING:
            return f"draining; gamenode node uncordon {candidate.name}"
        case _:
            assert_never(candidate.admin_state)
    match candidate.state:
        case NodeState.ONLINE | NodeState.SUSPECT:
            return ""
        case NodeState.OFFLINE | NodeState.NEVER_CONNECTED if named:
            return ""
        case _:
            return str(candidate.state).replace("_", " ")


class _Short(dict[str, str]):
    """What each node that is meant has too little of, by its id."""

    @property
    def code(self) -> Code:
        """The error's code, where these are all the reason."""
        engine = all(reason.startswith(_NO_ENGINE) for reason in self.values())
        return Code.ENGINE_UNAVAILABLE if engine else Code.INSUFFICIENT_RESOURCES


def _lacking(candidate: Candidate, request: Request) -> str:
    """What a node has too little of, with the figures, or nothing."""
    requires = request.requires
    lacks: list[str] = []
    kept = candidate.kept
    if requires.cpus is not None and candidate.cpus is not None and candidate.cpus - (kept.cpus or 0) < requires.cpus:
        lacks.append(
            f"needs {requires.cpus:g} cpus, has {candidate.cpus:g}" + _besides(f"{kept.cpus or 0:g}", kept.cpus)
        )
    for what, needed, free, promised in (
        ("memory", requires.memory, candidate.memory_available, kept.memory),
        ("disk", requires.disk, candidate.disk_free, kept.disk),
    ):
        if needed is not None and free is not None and free - (promised or 0) < needed:
            words = f"needs {format_size(needed)} of {what}, has {format_size(free)} free"
            lacks.append(words + _besides(format_size(promised or 0), promised))
    unable = _unable(candidate, request.capabilities)
    known = request.lacking.get(candidate.node_id, "")
    return "; ".join(filter(None, (*lacks, unable, known)))


def _besides(amount: str, promised: float | None) -> str:
    """What of it runs that have not ended will need, for a sentence."""
    return f" ({amount} of it kept for runs that have not ended)" if promised else ""


def _unable(candidate: Candidate, needed: frozenset[str]) -> str:
    """What a node cannot do, or nothing. What one that is away could do last is not held against it."""
    there = candidate.state in (NodeState.ONLINE, NodeState.SUSPECT)
    if candidate.capabilities is None or not there or needed <= candidate.capabilities:
        return ""
    missing = needed - candidate.capabilities
    if ENGINE in missing:
        return _NO_ENGINE + (f": {candidate.engine_problem}" if candidate.engine_problem else "")
    return f"cannot do {listed(sorted(missing))}"


def _rank(candidate: Candidate) -> tuple[bool, float, float, str, str]:
    """Best first: certainly there, least busy, most free memory, then by name so that it is always the same."""
    busy = candidate.tasks_running / max(1, candidate.slots)
    return (
        candidate.state is not NodeState.ONLINE,
        busy,
        -(candidate.memory_available or 0),
        candidate.name,
        candidate.node_id,
    )


def _choices(
    fleet: Sequence[Candidate], chosen: Sequence[Candidate], wanted: int | None, reasons: dict[str, str]
) -> Iterable[Choice]:
    taken = {candidate.node_id for candidate in chosen}
    for candidate in fleet:
        if candidate.node_id not in taken:
            reason = reasons.get(candidate.node_id, f"fits, but {wanted} better placed")
            yield Choice(candidate.node_id, candidate.name, False, reason)
        elif candidate.state in (NodeState.OFFLINE, NodeState.NEVER_CONNECTED):
            yield Choice(candidate.node_id, candidate.name, True, "named; not connected, the run waits for it")
        else:
            yield Choice(candidate.node_id, candidate.name, True, "fits")


def _check_named(fleet: Sequence[Candidate], refusals: dict[str, str], short: _Short) -> None:
    """Refuses a run where any node that was named cannot be part of it."""
    closed = [f"{c.name}: {refusals[c.node_id]}" for c in fleet if c.node_id in refusals]
    if closed:
        raise GameNodeError(Code.STATE_CONFLICT, f"a node that was named cannot take the run: {listed(closed)}")
    lacking = [f"{c.name} {short[c.node_id]}" for c in fleet if c.node_id in short]
    if lacking:
        words = "not enough resources" if short.code is Code.INSUFFICIENT_RESOURCES else "containers cannot run"
        raise GameNodeError(short.code, f"{words}: {listed(lacking)}", details=short)


def _too_few(fleet: Sequence[Candidate], fit: int, wanted: int, refusals: dict[str, str], short: _Short) -> NoReturn:
    raise GameNodeError(
        short.code if short else Code.INSUFFICIENT_RESOURCES,
        f"{wanted} nodes are wanted and {fit} can take the run: {_summary(fleet, refusals | short)}",
        details=short,
    )


def _nobody(fleet: Sequence[Candidate], refusals: dict[str, str], short: _Short) -> NoReturn:
    summary = _summary(fleet, refusals | short)
    if short:
        words = "has enough resources" if short.code is Code.INSUFFICIENT_RESOURCES else "can run containers"
        raise GameNodeError(short.code, f"no node {words}: {summary}", details=short)
    raise GameNodeError(Code.NOT_FOUND, f"no node can take the run: {summary}")


def _summary(fleet: Sequence[Candidate], reasons: dict[str, str]) -> str:
    return listed([f"{c.name} {reasons[c.node_id]}" for c in fleet if c.node_id in reasons], 8)

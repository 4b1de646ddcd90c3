"""What needs a person, oldest first, each with a command that helps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gamenode_pipelines.quantities import format_duration
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import NodeState, RunState
from gamenode_server.controller.slots import host_facts
from gamenode_server.records import Node

#: Seconds of difference between two clocks that somebody should know of.
MAX_SKEW = 60.0
#: A certificate that should have been renewed by now.
CERTIFICATE_WARNING = 3 * 86400.0


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing that does not get better by itself."""

    since: float
    kind: str
    id: str
    name: str
    text: str
    hint: str


def attention(
    *,
    runs: Iterable[Run],
    nodes: Iterable[Node],
    skews: Mapping[str, float],
    now: float,
    wall: float,
    storage: str,
    log_problem: str | None = None,
    engines_away: Mapping[str, float] = MappingProxyType({}),
    schedules_failed: Mapping[str, tuple[float, str]] = MappingProxyType({}),
    notifiers_failing: Mapping[str, tuple[float, str]] = MappingProxyType({}),
    triggers_failed: Mapping[str, tuple[float, str]] = MappingProxyType({}),
) -> list[Attention]:
    """Everything that waits for somebody, oldest first. `wall` is the wall clock, for certificates.

    `log_problem` is why logs cannot be written, where they cannot. `engines_away` has the connected nodes whose
    container engine does not answer, and since when; `schedules_failed` those that could not start their run, when
    and why; `notifiers_failing` those that can tell nobody, since when and why; `triggers_failed` the pipelines that an
    event could not start, when and why.
    """
    found = [item for run in runs if (item := _run(run)) is not None]
    for node in nodes:
        found.extend(_node(node, skews.get(node.id, 0.0), now, wall))
        if node.id in engines_away and node.state is NodeState.ONLINE:
            found.append(_engine(node, engines_away[node.id]))
    for name, (since, error) in schedules_failed.items():
        text = f"schedule {name} could not start its run: {error}"
        found.append(Attention(since, "schedule", name, name, text, "gamenode schedule ls"))
    for name, (since, error) in triggers_failed.items():
        text = f"an event could not start a run of {name}: {error}"
        found.append(Attention(since, "trigger", name, name, text, "gamenode events --type trigger"))
    for name, (since, error) in notifiers_failing.items():
        text = f"notifier {name} can tell nobody: {error}"
        found.append(Attention(since, "notifier", name, name, text, f"gamenode notifier test {name}"))
    if storage != "ok":
        text = (
            "the server's disk is full: nothing new is accepted"
            if storage == "storage_full"
            else f"the store is {storage}"
        )
        found.append(Attention(now, "server", "", "server", text, "free some space; it goes on by itself"))
    elif log_problem is not None:
        hint = "free some space; agents keep their logs and send them again"
        found.append(Attention(now, "server", "", "server", log_problem, hint))
    return sorted(found, key=lambda item: item.since)


def _run(run: Run) -> Attention | None:
    match run.state:
        case RunState.NEEDS_ATTENTION:
            text = f"run of {run.pipeline} cannot move without a person"
            return Attention(
                run.started_at or run.created_at, "run", run.id, run.pipeline, text, f"gamenode run explain {run.id}"
            )
        case RunState.WAITING:
            asked = f": {run.approval.message}" if run.approval is not None and run.approval.message else ""
            text = f"run of {run.pipeline} waits for an approval{asked}"
            return Attention(run.created_at, "run", run.id, run.pipeline, text, f"gamenode run approve {run.id}")
        case RunState.PAUSED if run.hold is not None:
            text = f"run of {run.pipeline} was paused by {run.hold.by}"
            return Attention(run.hold.at, "run", run.id, run.pipeline, text, f"gamenode run resume {run.id}")
        case _:
            return None


def _engine(node: Node, since: float) -> Attention:
    engine = host_facts(node.facts).engine
    text = f"{engine.name or 'the container engine'} is away on {node.name}: {engine.problem}"
    return Attention(since, "node", node.id, node.name, text, f"gamenode node show {node.name}")


def _node(node: Node, skew: float, now: float, wall: float) -> Iterable[Attention]:
    show = f"gamenode node show {node.name}"
    if node.state in (NodeState.OFFLINE, NodeState.SUSPECT, NodeState.QUARANTINED):
        silent = format_duration(max(0, round(now - node.last_seen)))
        text = f"node {node.name} is {node.state}, last seen {silent} ago"
        yield Attention(node.last_seen, "node", node.id, node.name, text, show)
    if node.drain is not None:
        since = format_duration(max(0, round(now - node.drain.since)))
        text = f"node {node.name} is empty, since {node.drain.by} drained it"
        if not node.drain.done:
            text = f"node {node.name} is being drained by {node.drain.by} since {since}"
        yield Attention(node.drain.since, "node", node.id, node.name, text, f"gamenode node uncordon {node.name}")
    if abs(skew) > MAX_SKEW:
        text = (
            f"the clock of node {node.name} is {format_duration(abs(round(skew)))} {'ahead' if skew > 0 else 'behind'}"
        )
        yield Attention(now, "node", node.id, node.name, text, "set its clock; nothing else depends on it")
    if node.state is NodeState.ONLINE and 0 < node.certificate_not_after - wall < CERTIFICATE_WARNING:
        left = format_duration(round(node.certificate_not_after - wall))
        yield Attention(now, "node", node.id, node.name, f"the certificate of node {node.name} ends in {left}", show)

"""What can be told of a plan on a node before it runs: commands, conditions, ports. Pure.

Only expressions of `params`, `node` and `run` have a value by then; what refers to more stays as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gamenode_pipelines import expressions
from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.kinds import ports
from gamenode_pipelines.plan import GROUP, Plan, Scalar, StepPlan, surely_run
from gamenode_pipelines.task_state import NodeFacts

_KNOWN: Final = frozenset({"params", "node", "run"})
_PUBLISHES: Final = frozenset({"container.run", "container.job"})
#: Of a script's text so many characters are shown.
LONGEST: Final = 4000


@dataclass(frozen=True, slots=True)
class Command:
    """A step as a node would run it. `skipped`: its condition is false there."""

    step: str
    kind: str
    text: str
    skipped: bool


@dataclass(frozen=True, slots=True)
class WantedPort:
    """A port of the host that a step publishes; `container` is the name of what it makes."""

    step: str
    container: str
    port: ports.Port


def commands(plan: Plan, node: NodeFacts, run_id: str = "") -> list[Command]:
    """Every step as the node would run it, in the plan's order; those of inlined pipelines as they are written."""
    scope = _scope(plan, node, run_id)
    found = []
    for step in (*plan.steps, *plan.finally_):
        if step.kind == GROUP:
            continue
        condition = step.condition
        holds = not condition or step.scope != "" or not _is_known(condition) or _true(condition, scope)
        found.append(Command(step.id, step.kind, _text(step, scope)[:LONGEST], not holds))
    return found


def may_become(text: str, step: StepPlan, plan: Plan, node: NodeFacts, run_id: str) -> Callable[[str], bool]:
    """Whether a text of a step can be this once it is rendered on a node: anything for what is not known yet."""
    scope = _scope(plan, node, run_id)
    if step.scope:  # whose parameters are others
        del scope["params"]
    pieces, position = [""], 0
    for part in expressions.find(text):
        pieces[-1] += text[position : part.start]
        if part.closed and expressions.roots_of(part.source) <= scope.keys():
            pieces[-1] += expressions.render(text[part.start : part.end], scope)
        else:
            pieces.append("")
        position = part.end
    pieces[-1] += text[position:]
    return lambda said: _fits(said, pieces)


def _fits(said: str, pieces: Sequence[str]) -> bool:
    """Whether a text is these pieces with anything between them, in linear time."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return said == first
    at, end = len(first), len(said) - len(last)
    if at > end or not said.startswith(first) or not said.endswith(last):
        return False
    for piece in pieces[1:-1]:
        found = said.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def publishes(plan: Plan) -> bool:
    """Whether the plan surely publishes ports of the host."""
    return any(step.kind in _PUBLISHES and step.with_.get("ports") for step in surely_run(plan))


def host_ports(plan: Plan, node: NodeFacts) -> Iterator[WantedPort]:
    """The ports of the host that the plan surely publishes on a node, as far as they are known beforehand."""
    scope = _scope(plan, node, "")
    for step in surely_run(plan):
        if step.kind not in _PUBLISHES or step.scope:
            continue
        name, entries = step.with_.get("name", ""), step.with_.get("ports", ())
        for entry in entries if isinstance(entries, tuple) else ():
            text = _rendered(entry, scope)
            if not isinstance(text, str) or "${{" in text:
                continue
            try:
                wanted = ports.parse(text).ports
            except ValueError:
                continue  # said when the step starts, with its place
            for port in wanted:
                if port.host_port is not None:
                    yield WantedPort(step.id, str(_rendered(name, scope)), port)


def _scope(plan: Plan, node: NodeFacts, run_id: str) -> dict[str, object]:
    return {
        "params": plan.params,
        "node": {"id": node.id, "name": node.name, "labels": node.labels, "address": node.address},
        "run": {"id": run_id, "pipeline": plan.pipeline, "version": plan.version},
    }


def _is_known(source: str) -> bool:
    return expressions.roots_of(source) <= _KNOWN


def _true(source: str, scope: Mapping[str, object]) -> bool:
    try:
        return expressions.is_true(source, scope)
    except GameNodeError:
        return True  # it fails when it runs, and says why


def _rendered(value: Any, scope: Mapping[str, object]) -> Any:
    match value:
        case str() if "${{" in value:
            if not all(part.closed and _is_known(part.source) for part in expressions.find(value)):
                return value
            try:
                return expressions.render(value, scope)
            except GameNodeError:
                return value
        case tuple():
            return [_rendered(item, scope) for item in value]
        case Mapping():
            return {name: _rendered(item, scope) for name, item in value.items()}
        case _:
            return value


def _text(step: StepPlan, scope: Mapping[str, object]) -> str:
    if step.script is None:
        return ", ".join(f"{name}: {_shown(_rendered(value, scope))}" for name, value in step.with_.items())
    if step.script.argv:
        return " ".join(str(_rendered(word, scope)) for word in step.script.argv)
    lines = [f"{name}={_bound(source, scope)}" for name, source in step.script.bindings.items()]
    return "\n".join([*lines, step.script.text])


def _bound(source: str, scope: Mapping[str, object]) -> str:
    return str(_rendered(f"${{{{ {source} }}}}", scope))


def _shown(value: Scalar | list[Any] | dict[str, Any]) -> str:
    return str(value) if not isinstance(value, bool) else str(value).lower()

"""What is wrong with triggers beyond the shape of each: parameters, where the runs would go, one that starts itself."""

from __future__ import annotations

from collections.abc import Mapping

from gamenode_pipelines import expressions
from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.compile import resolve_parameters
from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.problems import Report
from gamenode_pipelines.spec import PipelineSpec
from gamenode_pipelines.triggers import FACTS, OF_NODES, ROOTS
from gamenode_pipelines.wording import listed, nearest, shown


def check_triggers(spec: PipelineSpec, root: tree.Mapping, report: Report) -> None:
    """Reports each problem at its trigger."""
    alone = root.get("on") or root
    items = alone.items if isinstance(alone, tree.Sequence) else (alone,)
    for trigger, item in zip(spec.on, items, strict=True):
        if trigger.pipeline == spec.pipeline:
            said = f"the pipeline would start itself with its own `{trigger.event}`; name another one's"
            report(item.place, said)
        if spec.targets is None and trigger.event not in (*OF_NODES, "task.failed"):
            report(
                item.place, f"`{trigger.event}` is about no node: the pipeline needs `targets`, to say where it runs"
            )
        written = item.get("params") if isinstance(item, tree.Mapping) else None
        if isinstance(written, tree.Mapping):
            _check_expressions(written, report)
        _check_parameters(spec, trigger.params, item.place, report)


def _check_expressions(params: tree.Mapping, report: Report) -> None:
    for _, value in params.entries.values():
        if isinstance(value, tree.Scalar):
            parts = expressions.find(value.text)
            for part, place in zip(parts, value.places("${{", len(parts)), strict=True):
                if part.closed:
                    _check_expression(part.source, place, report)
                else:
                    report(place, "the ${{ has no }}")


def _check_expression(source: str, place: tree.Place, report: Report) -> None:
    try:
        paths = expressions.paths(source, ROOTS)
    except expressions.ExpressionError as error:
        report(place, error.problem, suggestion=error.suggestion)
        return
    for root, *rest in paths:
        if rest and rest[0] not in FACTS:
            close = nearest(rest[0], FACTS)
            has = "" if close else f"; there are {listed(sorted(FACTS))}"
            report(place, f"`{root}` has no {shown(rest[0])}{has}", suggestion=f"{root}.{close}" if close else "")


def _check_parameters(spec: PipelineSpec, params: Mapping[str, str], place: tree.Place, report: Report) -> None:
    """Those with expressions get their values when it happens; here they count as given."""
    later = {name for name, text in params.items() if expressions.find(text)}
    try:
        resolve_parameters(spec, {name: text for name, text in params.items() if name not in later})
    except GameNodeError as error:
        for name, message in error.details.items():
            if name in later:
                continue
            if name not in params:
                message = "must be given, under `params` of the trigger"
            report(place, f"parameter {shown(name)}: {message}")
    names = [parameter.name for parameter in spec.parameters]
    for name in sorted(later - set(names)):
        report(place, f"parameter {shown(name)}: there is no such one", suggestion=nearest(name, names))

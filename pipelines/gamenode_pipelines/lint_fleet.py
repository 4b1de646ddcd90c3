"""What is wrong with the expressions of `concurrency` and `approval`: they see less than those of steps."""

from __future__ import annotations

from gamenode_pipelines import expressions
from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.compile_fleet import GROUP_ROOTS, MESSAGE_ROOTS
from gamenode_pipelines.problems import Report
from gamenode_pipelines.wording import listed


def check_fleet(root: tree.Mapping, report: Report) -> None:
    """Reports each problem at its expression."""
    params = root.get("params")
    known = expressions.Known(
        params=frozenset(params.entries) if isinstance(params, tree.Mapping) else frozenset(),
        steps=frozenset(),
        env=frozenset(),
    )
    for owner, key, roots in (("concurrency", "group", GROUP_ROOTS), ("approval", "message", MESSAGE_ROOTS)):
        mapping = root.get(owner)
        value = mapping.get(key) if isinstance(mapping, tree.Mapping) else None
        if isinstance(value, tree.Scalar):
            _check(value, roots, known, report)


def _check(value: tree.Scalar, roots: tuple[str, ...], known: expressions.Known, report: Report) -> None:
    parts = expressions.find(value.text)
    for part, place in zip(parts, value.places("${{", len(parts)), strict=True):
        if not part.closed:
            report(place, "the ${{ has no }}")
        elif outside := expressions.roots_of(part.source) - set(roots):
            report(place, f"`{min(outside)}` is not known before a run begins; there are {listed(roots)}")
        else:
            for finding in expressions.lint(part.source, known):
                report(place, finding.message, suggestion=finding.suggestion)

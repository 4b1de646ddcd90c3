"""What steps fetch from beside the pipeline's file has to be among its `files`."""

from __future__ import annotations

from collections.abc import Iterator

from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.problems import Report
from gamenode_pipelines.spec import PipelineSpec
from gamenode_pipelines.wording import nearest, shown


def check_files(spec: PipelineSpec, root: tree.Mapping, report: Report) -> None:
    """Reports each `from` of a `file.fetch` that is a path, as no artifact's name is, and none of `files`."""
    for step in _steps(root):
        uses, with_ = step.get("uses"), step.get("with")
        if isinstance(uses, tree.Scalar) and uses.text == "file.fetch" and isinstance(with_, tree.Mapping):
            said = with_.get("from")
            if (
                isinstance(said, tree.Scalar)
                and "/" in said.text
                and "${{" not in said.text
                and said.text not in spec.files
            ):
                message = f"{shown(said.text)} is none of the pipeline's `files`"
                report(said.place, message, suggestion=nearest(said.text, spec.files))


def _steps(node: tree.Node) -> Iterator[tree.Mapping]:
    """Every step, also those that answer failures."""
    for key in ("steps", "finally", "on_failure"):
        group = node.get(key) if isinstance(node, tree.Mapping) else None
        for step in group.items if isinstance(group, tree.Sequence) else ():
            if isinstance(step, tree.Mapping):
                yield step
                yield from _steps(step)

"""What is wrong with triggers beyond the shape of each: parameters, where the runs would go, one that starts itself."""

from __future__ import annotations

from gamenode_pipelines import expressions
from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.problems import Report
from gamenode_pipelines.spec import PipelineSpec
from gamenode_pipelines.triggers import OF_NODES, ROOTS
from gamenode_pipelines.wording import nearest, shown


def check_triggers(spec: PipelineSpec, root: tree.Mapping, report: Report) -> None:
    """Reports each problem at its trigger."""
    alone = root.get("on") or root
    places = [item.place for item in alone.items] if isinstance(alone, tree.Sequence) else [alone.place]
    names = [parameter.name for parameter in spec.parameters]
    for trigger, place in zip(spec.on, places, strict=True):
        if trigger.pipeline == spec.pipeline:
            report(place, f"the pipeline would start itself with its own `{trigger.event}`; name another one's")
        if spec.targets is None and trigger.event not in (*OF_NODES, "task.failed"):
            report(place, f"`{trigger.event}` is about no node: the pipeline needs `targets`, to say where it runs")
        for name, text in trigger.params.items():
            if name not in names:
                report(place, f"there is no parameter {shown(name)}", suggestion=nearest(name, names))
            for part in expressions.find(text):
                outside = expressions.roots_of(part.source) - set(ROOTS) if part.closed else set()
                if not part.closed:
                    report(place, f"parameter {shown(name)}: the ${{{{ has no }}}}")
                elif outside:
                    report(place, f"parameter {shown(name)}: `{min(outside)}` is not known here; there is `event`")
        for parameter in spec.parameters:
            if parameter.required and parameter.name not in trigger.params:
                report(place, f"parameter {shown(parameter.name)} must be given, under `params` of the trigger")

"""What is wrong with schedules beyond the shape of each: ids, parameters, and where the runs would go."""

from __future__ import annotations

from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.compile import resolve_parameters
from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.problems import Report
from gamenode_pipelines.spec import PipelineSpec
from gamenode_pipelines.wording import shown


def check_schedules(spec: PipelineSpec, root: tree.Mapping, report: Report) -> None:
    """Reports each problem at its schedule."""
    alone = root.get("schedule") or root
    places = [item.place for item in alone.items] if isinstance(alone, tree.Sequence) else [alone.place]
    if spec.targets is None:
        said = "`schedule` needs `targets`, like `targets: {select: role=game}`: nobody is there to say on which nodes"
        report(places[0], said)
    seen: dict[str, tree.Place] = {}
    for schedule, place in zip(spec.schedule, places, strict=True):
        if first := seen.get(schedule.id):
            report(place, f"the schedule {shown(schedule.id)} is already in line {first.line}; give each an `id`")
        seen.setdefault(schedule.id, place)
        try:
            resolve_parameters(spec, schedule.params)
        except GameNodeError as error:
            for name, message in error.details.items():
                report(place, f"schedule {shown(schedule.id)}, parameter {shown(name)}: {message}")

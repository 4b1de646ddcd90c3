"""Pipelines that would start each other for ever are found when one of them is stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from gamenode_pipelines.errors import InvalidPipeline, Problem
from gamenode_pipelines.load import LoadedPipeline
from gamenode_pipelines.triggers import Trigger, circle
from gamenode_server.controller.compiler import Compiler
from gamenode_server.records import PipelineVersion

_ON = re.compile(r"^on:", re.MULTILINE)


async def circle_problems(
    new: Sequence[tuple[LoadedPipeline, str, str]], stored: Mapping[str, PipelineVersion], compiler: Compiler
) -> list[Problem]:
    """What is wrong with new pipelines, each with its file and the file's text, beside those that are stored."""
    if not any(trigger.pipeline for pipeline, _, _ in new for trigger in pipeline.spec.on):
        return []
    triggers = {pipeline.name: _of(pipeline) for pipeline, _, _ in new}
    for name, version in stored.items():
        if name not in triggers and not version.removed and _ON.search(version.text):
            try:
                (loaded,) = await compiler.load(version.text, name)
            except InvalidPipeline:
                continue  # stored by another version of this program: it starts nothing either
            triggers[name] = _of(loaded)
    return list(_problems(new, triggers))


def _of(pipeline: LoadedPipeline) -> list[Trigger]:
    return [each.trigger for each in pipeline.spec.on]


def _problems(
    new: Sequence[tuple[LoadedPipeline, str, str]], triggers: Mapping[str, Sequence[Trigger]]
) -> Iterator[Problem]:
    for pipeline, file, text in new:
        way = circle(triggers, pipeline.name) if pipeline.spec.on else []
        if way:
            at = text.find(pipeline.text)
            match = _ON.search(text, max(0, at))
            line = text.count("\n", 0, match.start()) + 1 if match else 1
            told = " → ".join(way)
            yield Problem(file, line, 1, f"pipelines would start each other for ever: {told}; take one trigger out")

"""Which events notifiers can be told of."""

from __future__ import annotations

from gamenode_pipelines.triggers import EVENTS
from gamenode_server.notifiers.reading import FAMILIES


def test_whatever_starts_a_pipeline_can_be_told_to_people_too() -> None:
    assert {event.partition(".")[0] for event in EVENTS} <= set(FAMILIES)

"""The simulation is worth something: it sees everything there is, gives the same twice, and notices what is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest

from gamenode_pipelines import tasks
from gamenode_pipelines.effects import TaskEffect
from gamenode_pipelines.events import TaskEvent, TaskEventBody
from gamenode_pipelines.plan import OnLost, Plan
from gamenode_pipelines.reconcile import Action, ReportUnknown
from gamenode_pipelines.recovery import Adopt, Decision, Evidence, Phase, decide
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import Task
from support.simulation.world import World


def test_a_seed_is_a_story() -> None:
    for seed in (3, 47):
        first, second = World(seed), World(seed)
        first.run()
        second.run()
        assert first.server.disk == second.server.disk
        assert first.checker.effects == second.checker.effects


def test_the_worlds_see_everything_there_is() -> None:
    bodies: Counter[type] = Counter()
    actions: Counter[type] = Counter()
    states: Counter[TaskState] = Counter()
    fences = 0
    for seed in range(250):
        world = World(seed)
        world.run()
        disk = world.server.disk
        bodies.update(type(event.body) for events in disk.events.values() for event in events)
        states.update(task.state for task in disk.tasks.values())
        actions.update(world.server.actions)
        fences = max(fences, *(task.fence for task in disk.tasks.values()), 0)
    assert set(get_args(TaskEventBody)) <= set(bodies), set(get_args(TaskEventBody)) - set(bodies)
    assert set(get_args(Action)) - {ReportUnknown} <= set(actions), set(get_args(Action)) - set(actions)
    assert {s for s in TaskState if s.ended} | {TaskState.NEEDS_ATTENTION} <= set(states)
    assert fences > 2


Broken = Callable[[], World]


def _blind_to_fences(task: Task, plan: Plan, event: TaskEvent) -> tuple[Task, tuple[TaskEffect, ...]]:
    return tasks.step(task, plan, replace(event, fence=max(event.fence, task.fence)))


def _careless(task: Task, plan: Plan, event: TaskEvent) -> tuple[Task, tuple[TaskEffect, ...]]:
    """As if every step could be run again."""
    steps = tuple(replace(step, idempotent=True) for step in plan.steps)
    return tasks.step(task, replace(plan, steps=steps, on_lost=OnLost.RETRY), event)


def _forgetful(task: Task, plan: Plan, event: TaskEvent) -> tuple[Task, tuple[TaskEffect, ...]]:
    """Changes the state behind the events' back."""
    new, effects = tasks.step(task, plan, event)
    return (replace(new, accepted=True) if new.fence > 1 else new), effects


def _trusting(evidence: Evidence) -> Decision:
    return Adopt() if evidence.phase is Phase.UNKNOWN else decide(evidence)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda seed: World(seed, fold=_blind_to_fences), id="events of old assignments count"),
        pytest.param(lambda seed: World(seed, fold=_careless), id="everything is run again"),
        pytest.param(lambda seed: World(seed, fold=_forgetful), id="a state that no event explains"),
        pytest.param(lambda seed: World(seed, decide=_trusting), id="what is unknown counts as running"),
        pytest.param(lambda seed: World(seed, dedupe=False), id="a record that comes again is applied again"),
    ],
)
def test_a_broken_part_is_noticed(broken: Callable[[int], World]) -> None:
    for seed in range(400):
        try:
            broken(seed).run()
        except Exception:  # whichever rule it broke first
            return
    pytest.fail("400 worlds went by as if nothing was broken")


def test_cancelling_over_a_nodes_head_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "on_node", lambda task: False)
    test_a_broken_part_is_noticed(World)

"""Any keys in any order, while nodes, runs and the connection come and go: the console goes on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from gamenode_console.app import ConsoleApp
from gamenode_console.keys import KEYS
from gamenode_console.model.world import LinkState, World
from gamenode_console.screens.leaving import Leaving
from gamenode_console.screens.run import RunDetail
from support.desk import NOW, FrozenClock, console, filled_world, node, run
from support.views import Answers, run_update, some_events

PRESSES = 100
SIZES = [(40, 10), (60, 18), (80, 24), (120, 40), (200, 60)]
#: What is typed into prompts and forms, besides keys.
WORDS = [
    "us",
    "~(",
    "region=eu",
    "node eu-1",
    "label eu-1 a=b",
    "logs eu-1/x",
    "export /dev/null",
    "rate 3",
    "9",
    "é[/]",
]
_KEYS = sorted({word for key in KEYS for word in key.keys.split(",")} - {"f2"})


def _shake(world: World, chance: random.Random) -> None:
    """Something happens in the fleet."""
    match chance.randrange(6):
        case 0:
            world.put_nodes([node(f"n-{chance.randrange(9)}", state=chance.choice(["ONLINE", "OFFLINE"]))])
        case 1:
            world.put_nodes([], removed=[f"id-n-{chance.randrange(9)}", "id-eu-1"])
        case 2:
            world.put_runs(
                [run(f"run{chance.randrange(4)}aaaaaaaa", state=chance.choice(["RUNNING", "FAILED"]), failed=1)]
            )
        case 3:
            world.put_runs([], removed=["aaaaaaaaaaaa"])
        case 4:
            world.set_link(state=chance.choice([LinkState.LIVE, LinkState.LOST]), since=NOW, text="refused")
        case _:
            world.put_events(some_events())


async def _answered(pilot: Pilot[Any], app: ConsoleApp) -> None:
    app.beat()
    await pilot.pause()
    if isinstance(app.screen, RunDetail):
        app.screen._watched.put(run_update())


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(2, 30))])
async def test_no_keys_break_the_console(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    world = filled_world()
    app = console(tmp_path, world=world, gateway=Answers())
    clock = app._clock
    assert isinstance(clock, FrozenClock)
    pressed: list[str] = []
    async with app.run_test(size=chance.choice(SIZES)) as pilot:
        for _ in range(PRESSES):
            keys = list(chance.choice(WORDS)) if chance.random() < 0.15 else [chance.choice(_KEYS)]
            if isinstance(app.screen, Leaving):
                keys = ["escape"]
            pressed += keys
            await pilot.press(*keys)
            clock.at += chance.random()
            if chance.random() < 0.3:
                _shake(world, chance)
            if chance.random() < 0.05:
                await pilot.resize_terminal(*chance.choice(SIZES))
            await _answered(pilot, app)
            assert app.failure is None, (pressed, app.failure)
            assert app.is_running, pressed

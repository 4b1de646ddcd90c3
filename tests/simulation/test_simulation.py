"""Many worlds, each from a seed. GAMENODE_SEEDS=N tries that many, GAMENODE_SEED=n exactly that one."""

from __future__ import annotations

import os

import pytest

from support.simulation.world import World

ONE = "GAMENODE_SEED"
COUNT = int(os.environ.get("GAMENODE_SEEDS", "500"))
CHUNK = 50


def play(seed: int) -> None:
    try:
        World(seed).run()
    except Exception as error:
        raise AssertionError(f"seed {seed} (again: {ONE}={seed} pytest tests/simulation): {error}") from error


if ONE in os.environ:

    def test_one_world() -> None:
        play(int(os.environ[ONE]))

else:

    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("first", range(0, COUNT, CHUNK))
    def test_worlds(first: int) -> None:
        for seed in range(first, min(first + CHUNK, COUNT)):
            play(seed)

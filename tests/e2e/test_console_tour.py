"""docs/tour.md, pressed key by key in a real tmux before a real fleet: what it says is on the screen is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.cluster import running_cluster
from support.pseudo_terminal import console_words
from support.tmux import tmux
from support.waiting import until

TOUR = (Path(__file__).parents[2] / "docs" / "tour.md").read_text("utf-8")
_QUOTED = re.compile(r"`([^`]+)`")
ROOM = "/var/tmp/room-for-maps"
#: The heading of what comes after somebody has made room.
MENDED = "Run it again where it failed"


@dataclass(frozen=True)
class Row:
    """A line of a table: what is pressed, and what is then on the screen."""

    section: str
    keys: tuple[str, ...]
    shown: tuple[str, ...]


def rows() -> Iterator[Row]:
    section = ""
    for line in TOUR.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| ") and not line.startswith(("| press", "| ---")):
            left, right = (cell.strip() for cell in line.strip("|").split(" | ", 1))
            yield Row(section, tuple(_QUOTED.findall(left)), tuple(_QUOTED.findall(right)))


def pipeline(room: Path) -> str:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", TOUR, re.MULTILINE | re.DOTALL)
    assert text.count(ROOM) == 1
    return str(text).replace(ROOM, str(room))


async def test_the_tour_is_true(tmp_path: Path) -> None:
    assert sum(bool(row.keys) for row in rows()) >= 25
    room = tmp_path / "room"
    file = tmp_path / "update-maps.yaml"
    file.write_text(pipeline(room))
    async with running_cluster(tmp_path / "c", agents=["eu-1", "eu-2", "us-1"]) as cluster:
        for name in ("eu-1", "eu-2"):
            await cluster.cli("node", "label", name, "region=eu")
        await cluster.cli("pipeline", "apply", str(file))
        lost = next(agent for agent in cluster.agents if agent.name == "us-1")
        await lost.kill()

        async def offline() -> bool:
            return "us-1 is offline" in await cluster.cli("status", code=None)

        await until(offline, what="us-1 to be offline")
        env = {**cluster.env, "HOME": str(tmp_path)}
        async with tmux(console_words(cluster.data_dir), env=env, size=(120, 40)) as window:
            for row in rows():
                if row.section == MENDED:
                    room.touch()
                await window.press(*row.keys)
                try:
                    await window.shows(*row.shown)
                except AssertionError as error:
                    raise AssertionError(f"{row.section}: after {' '.join(row.keys) or 'nothing'}: {error}") from None
            assert await window.ends() == 0

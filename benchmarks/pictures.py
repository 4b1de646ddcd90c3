"""Makes the pictures of the documentation: real screens of a real cluster, each taken from a terminal, as SVG.

Starts a server, three agents and a container engine, runs pipelines, and calls `gamenode` on a pty of a fixed size.
What it prints is kept as it is, colours included; rich turns it into a picture that refers to nothing outside of
itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import signal
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker
from rich.ansi import AnsiDecoder
from rich.console import Console

from benchmarks import console_pictures
from gamenode_console.app import ConsoleApp
from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import NodeState
from gamenode_proto.v1 import common_pb2
from support import play
from support.cluster import Cluster, running_cluster, settled, start_run
from support.docker_engine import DockerEngineProcess, open_engine, with_client
from support.screenshots import code_format, svg
from support.waiting import until

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
PIPELINE = """
pipeline: update-maps
targets: {select: "region=eu"}
steps:
  - id: fetch
    run: |
      for map in q3dm1 q3dm6 q3dm17 q3tourney2; do echo "fetched $map.pk3"; sleep 0.2; done
  - id: verify
    run: |
      for map in q3dm1 q3dm6 q3dm17 q3tourney2; do echo "$map.pk3: OK"; sleep 0.1; done
      echo "maps=4" >> "$GAMENODE_OUTPUT"
  - id: install
    timeout: 30s
    retry: {attempts: 3, backoff: 100ms}
    run: |
      echo "installing ${{ steps.verify.outputs.maps }} maps on ${{ node.name }}"
      if [ "$GAMENODE_ATTEMPT" = 1 ] && [ "${{ node.name }}" = eu-2 ]; then
        echo "the maps folder is locked" >&2
        exit 1
      fi
      for map in q3dm1 q3dm6 q3dm17 q3tourney2; do echo "installed $map.pk3"; sleep 0.8; done
finally:
  - id: tell
    run: echo "maps on ${{ node.name }} - ${{ task.state }}"
"""
#: The containers of the picture: the tests' program stands in for the games.
SERVERS = """
pipeline: game-servers
steps:
  - id: ffa
    uses: container.run
    with:
      name: oa-ffa
      image: gn/openarena:0.8.8
      command: [/bin/play, "print=map oa_dm1", eat=24m, sleep=3600]
      network: host
      ports: ["27960:27960/udp"]
      resources: {memory: 512m}
      restart: on-failure
  - id: ctf
    uses: container.run
    with:
      name: oa-ctf
      image: gn/openarena:0.8.8
      command: [/bin/play, eat=48m, sleep=3600]
      network: host
      resources: {memory: 512m}
  - id: duel
    uses: container.run
    with:
      name: tw-duel
      image: gn/teeworlds:0.7.5
      command: [/bin/play, "print=bind failed", exit=1]
      network: host
      restart: on-failure:1
"""


@dataclass
class Terminal:
    """A command on a pty, and everything it has written."""

    process: asyncio.subprocess.Process
    written: bytearray = field(default_factory=bytearray)

    @property
    def frame(self) -> str:
        """What was drawn since the cursor last went home, or everything."""
        # The newest frame may be half there: it is whole once the next one has begun.
        frames = self.written.decode(errors="replace").replace("\r\n", "\n").split("\x1b[H")
        return frames[-2] if len(frames) > 2 else frames[-1]


@asynccontextmanager
async def terminal(cluster: Cluster, *words: str, size: tuple[int, int]) -> AsyncIterator[Terminal]:
    """Runs `gamenode WORDS` on a pty of `size` (columns, rows), and ends it with Ctrl-C where it has not ended."""
    leader, follower = pty.openpty()
    columns, rows = size
    termios.tcsetwinsize(follower, (rows, columns))
    env = {key: value for key, value in cluster.env.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gamenode_console", "--data-dir", str(cluster.data_dir), *words),
        env={**env, "TERM": "xterm-256color"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = Terminal(process)
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            shown.written += os.read(leader, 1 << 16)
        except OSError:  # the other side is closed
            loop.remove_reader(leader)

    loop.add_reader(leader, read)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 20)
        loop.remove_reader(leader)
        os.close(leader)


async def taken(
    cluster: Cluster, *words: str, size: tuple[int, int], when: Callable[[str], bool] | None = None
) -> list[str]:
    """The lines on the terminal once `when` holds of them, or, without it, once the command has ended."""
    async with terminal(cluster, *words, size=size) as shown:
        if when is None:
            await asyncio.wait_for(shown.process.wait(), 30)
            await asyncio.sleep(0.1)  # what is still in the pty
            return shown.frame.rstrip("\n").split("\n")
        last = await until(
            lambda: frame if when(frame := shown.frame) else None, what=f"{words} to show what it should"
        )
        return str(last).split("\n")


def draw(name: str, command: str, lines: list[str], *, columns: int) -> None:
    """Writes `docs/pictures/NAME.svg`."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    for line in AnsiDecoder().decode("\n".join(lines)):
        console.print(line, no_wrap=True, overflow="crop", highlight=False)
    write(name, console.export_svg(title=command, code_format=code_format(), unique_id=name))


def write(name: str, text: str) -> None:
    """Writes `docs/pictures/NAME.svg`."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.svg").write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


async def views(cluster: Cluster, gateway: Gateway, folder: Path) -> None:
    """Takes the pictures of the console while a run goes on."""
    run = (await start_run(gateway, PIPELINE, nodes=["eu-1", "eu-2"])).run.id
    async with console_pictures.opened(cluster, folder / "state") as pilot:

        def draw_view(name: str) -> None:
            write(name, svg(pilot.app, name=name, title="gamenode-console"))

        await console_pictures.when(
            pilot, lambda text: "offline" in text and "running" in text and ".pk3" in text, "the fleet"
        )
        draw_view("console-fleet")
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        app.operations.open_run(run)
        await console_pictures.when(
            pilot, lambda text: "install" in text and "running" in text and text.count(".pk3") >= 2, "the run"
        )
        draw_view("console-run")
        await pilot.press("l")
        await console_pictures.when(pilot, lambda text: text.count(".pk3") >= 3, "the log")
        draw_view("console-log")
    await settled(gateway, run)


async def _until_offline(gateway: Gateway, name: str) -> None:
    async def look() -> bool:
        return (await gateway.state.get_node(name)).state == common_pb2.NODE_STATE_OFFLINE

    await until(look, what=f"{name} to be {NodeState.OFFLINE}")


def _tag(engine: DockerEngineProcess) -> None:
    def tag(api: docker.APIClient) -> None:
        for name in ("gn/openarena:0.8.8", "gn/teeworlds:0.7.5"):
            api.tag(play.IMAGE, name)

    with_client(engine.address, tag)


async def containers(cluster: Cluster, gateway: Gateway) -> None:
    """Takes the picture of the containers on eu-1."""
    await settled(gateway, (await start_run(gateway, SERVERS, nodes=["eu-1"])).run.id)

    async def look() -> bool:
        listed = json.loads(await cluster.cli("container", "ls", "-a", "-o", "json"))
        measured = sum(each["cpu_percent"] is not None for each in listed)
        return measured == 2 and any(each["restarts"] == 1 and each["state"] == "exited" for each in listed)

    await until(look, what="containers to be measured, and one to be given up")
    shown = await taken(cluster, "container", "ls", "-a", size=(112, 24))
    draw("container-ls", "gamenode container ls -a", shown, columns=112)


async def take() -> None:
    """Takes every picture."""
    engine = await asyncio.to_thread(open_engine)
    try:
        _tag(engine)
        await _take(engine)
    finally:
        await asyncio.to_thread(engine.close)


async def _take(engine: DockerEngineProcess) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_cluster(Path(folder)) as cluster, cluster.gateway() as gateway:
            for name, region in (("eu-1", "eu"), ("eu-2", "eu"), ("us-1", "us")):
                agent = await cluster.join(name, labels={"region": region, "role": "game"})
                agent.argv = [*agent.argv, "--docker-host", engine.address if name == "eu-1" else "none"]
                await agent.start()
            await cluster.agents[-1].kill()
            await _until_offline(gateway, "us-1")
            run = (await start_run(gateway, PIPELINE, nodes=["eu-1", "eu-2"])).run.id

            def in_the_middle(frame: str) -> bool:
                return frame.count("installed") >= 3 and "Ctrl-C" in frame

            watch = await taken(cluster, "run", "watch", run, size=(92, 20), when=in_the_middle)
            draw("run-watch", f"gamenode run watch {run}", watch, columns=92)
            nodes = await taken(cluster, "node", "ls", size=(92, 24))
            draw("node-ls", "gamenode node ls", nodes, columns=92)
            await settled(gateway, run)
            words = ("run", "logs", run, "--node", "eu-2", "-v")
            draw("run-logs", f"gamenode {' '.join(words)}", await taken(cluster, *words, size=(132, 40)), columns=132)
            await views(cluster, gateway, Path(folder))
            await containers(cluster, gateway)


if __name__ == "__main__":
    asyncio.run(take())

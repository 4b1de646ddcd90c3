"""game.gate: it opens when few enough are in, and never because nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from gamenode_agent.engines.inline import Result
from gamenode_agent.games.server_status import ServerStatus
from gamenode_agent.steps.game_gate import GameGate, counts
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds import check
from support.game_servers import silent_port, udp_server
from support.inline_attempts import Bench, FakeHandle
from support.waiting import until

OOB = b"\xff\xff\xff\xff"
PASSWORD = "s3same"


class Game:
    """A Quake 3 server: who is in, by their pings, the commands that came, and what each brings about."""

    def __init__(self, *pings: int) -> None:
        self.pings = list(pings)
        self.questions = 0
        self.commands: list[str] = []
        self.on_command: Callable[[str], None] = lambda command: None

    def answers(self, packet: bytes) -> Iterable[bytes]:
        text = packet.removeprefix(OOB).decode().strip()
        if text.startswith("rcon"):
            command = text.split(" ", 2)[2]
            self.commands.append(command)
            self.on_command(command)
            yield OOB + b"print\nok\n"
        else:
            self.questions += 1
            rows = "".join(f'0 {ping} "P"\n' for ping in self.pings)
            yield OOB + f"statusResponse\n\\sv_hostname\\Mine\\mapname\\dm1\\sv_maxclients\\8\n{rows}".encode()


def gate(port: int, bench: Bench, **values: Any) -> GameGate:
    return GameGate(bench.tools, check("game.gate", {"protocol": "quake3", "port": port, **values}), every=0.01)


async def through(game: Game, handle: FakeHandle | None = None, **values: Any) -> Result:
    bench = Bench(None)
    async with udp_server(game.answers) as port:
        return await gate(port, bench, **values).run(handle or bench.handle())


RCON = {"rcon": {"password": PASSWORD}}


async def test_it_is_open_where_nobody_is_in() -> None:
    result = await through(Game())
    assert result.outputs == {"players": "0", "forced": "false"}


async def test_as_many_as_may_be_in() -> None:
    assert (await through(Game(50, 60), players=2)).outputs["players"] == "2"


async def test_it_waits_until_the_last_has_left() -> None:
    game, handle = Game(50), Bench(None).handle()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(through(game, handle))
        await until(lambda: game.questions > 2)
        game.pings.clear()
        result = await task
    assert result.outputs["players"] == "0"
    assert handle.said == ["1 in, at most 0 may be", "the gate is open: 0 in"]


@pytest.mark.parametrize(
    ("players", "bots", "ignore", "counted"),
    [(3, 2, True, 1), (3, 2, False, 3), (3, None, True, 3), (None, 2, True, None), (1, 2, True, 0)],
)
def test_bots_count_unless_they_do_not(
    players: int | None, bots: int | None, ignore: bool, counted: int | None
) -> None:
    status = ServerStatus(players=players, bots=bots, max_players=8, map="", name="")
    assert counts(status, ignore_bots=ignore) == counted


async def test_bots_that_the_game_does_not_tell_apart_are_players() -> None:
    with pytest.raises(GameNodeError, match="2 in, at most 0 may be"):
        await through(Game(0, 0), deadline="10ms", ignore_bots=True)


async def test_a_server_that_does_not_answer_is_not_empty() -> None:
    bench = Bench(None)
    step = gate(silent_port(), bench, protocol="teeworlds", deadline="50ms")
    with pytest.raises(
        GameNodeError, match=r"within 0\.05 s: how many are in is not known: .*nothing listens"
    ) as caught:
        await step.run(bench.handle())
    assert caught.value.code is Code.GATE_DEADLINE
    assert caught.value.details == {"deadline": "0.05", "players": ""}


async def test_players_are_told_once_and_not_by_the_next_agent() -> None:
    game, handle = Game(50), Bench(None).handle()
    values = {**RCON, "announce": "say bye", "deadline": "100ms"}
    with pytest.raises(GameNodeError):
        await through(game, handle, **values)
    assert game.commands == ["say bye"]
    with pytest.raises(GameNodeError):
        await through(game, handle.again(), **values)
    assert game.commands == ["say bye"]
    assert PASSWORD not in "".join(handle.said)


async def test_nobody_is_told_where_nobody_is_in() -> None:
    game = Game()
    await through(game, **RCON, announce="say bye")
    assert game.commands == []


async def test_who_comes_in_before_the_lock_keeps_it_shut() -> None:
    game = Game()

    def slips_in(command: str) -> None:
        if len(game.commands) == 1:
            game.pings = [50]

    game.on_command = slips_in
    async with asyncio.TaskGroup() as group:
        task = group.create_task(through(game, **RCON, lock_command="lock"))
        await until(lambda: game.questions > 3)
        assert not task.done()
        game.pings = []
        await task
    assert game.commands == ["lock", "lock"]


async def test_a_deadline_can_be_an_end_to_waiting() -> None:
    game = Game(50)
    result = await through(game, **RCON, lock_command="lock", deadline="50ms", on_deadline="force")
    assert result.outputs == {"players": "1", "forced": "true"}
    assert game.commands == ["lock"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"announce": "say x"}, "with.announce: needs `rcon`"),
        ({"lock_command": "x"}, "with.lock_command: needs `rcon`"),
        ({"on_deadline": "force"}, "with.on_deadline: needs a `deadline`"),
        ({"deadline": "1s", "on_deadline": "ask"}, "not yet: `ask`"),
        ({"deadline": "1s", "on_deadline": "frce"}, "'force'"),
        ({"protocol": "minecraft", "rcon": {"password": "x"}}, "with.rcon: needs its own `protocol`"),
        ({"rcon": {}}, "`password` is missing"),
        ({"players": -1}, "must be between 0 and 100000"),
        ({"announce": "a\nb", **RCON}, "has a line break"),
        ({"instance": "oa"}, "not yet: `instance`"),
    ],
)
def test_what_makes_no_gate_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(GameNodeError) as caught:
        check("game.gate", {"protocol": "quake3", "port": 27960, **values})
    assert said in caught.value.message

"""game.query and game.rcon: what they wait for, what they say, and what they never say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from gamenode_agent.engines.inline import LostTrack
from gamenode_agent.games.errors import NotAnswering, NotSendable, WrongPassword
from gamenode_agent.steps.game_query import GameQuery
from gamenode_pipelines.errors import Code, GameNodeError
from support.game_servers import silent_port, udp_server
from support.inline_attempts import Bench
from support.waiting import until

OOB = b"\xff\xff\xff\xff"
STATUS = OOB + b'statusResponse\n\\sv_hostname\\Mine\\mapname\\oa_dm1\\sv_maxclients\\8\n0 0 "Grunt"\n'
PASSWORD = "s3same"


def rcon(port: int, *commands: str, password: str = PASSWORD) -> dict[str, object]:
    return {"protocol": "quake3", "port": port, "password": password, "commands": list(commands)}


async def test_a_query_gives_its_outputs_and_a_line_for_people() -> None:
    bench = Bench(None)
    handle = bench.handle()
    async with udp_server(lambda _: [STATUS]) as port:
        result = await bench.step("game.query", {"protocol": "quake3", "port": port}).run(handle)
    assert result.outputs == {"players": "1", "max_players": "8", "map": "oa_dm1", "name": "Mine"}
    assert handle.said == [f"127.0.0.1:{port} answers: Mine, map oa_dm1, players 1 of 8"]


async def test_what_a_game_does_not_tell_is_empty_and_not_zero() -> None:
    async with udp_server(lambda _: [OOB + b"statusResponse\n\\sv_hostname\\Mine\n"]) as port:
        result = await Bench(None).step("game.query", {"protocol": "quake3", "port": port}).run(Bench(None).handle())
    assert (result.outputs["players"], result.outputs["max_players"]) == ("0", "")


async def test_a_server_that_starts_is_asked_until_it_answers() -> None:
    bench = Bench(None)
    handle = bench.handle()
    port = silent_port()
    asking = GameQuery(bench.tools, "teeworlds", "127.0.0.1", port, patience=60)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asking.run(handle))
        await until(lambda: handle.said)
        assert "nothing listens there" in handle.said[0]
        task.cancel()
    assert len(handle.said) == 1, "the same reason is said once"


async def test_a_query_gives_up_with_the_last_reason() -> None:
    bench = Bench(None)
    port = silent_port()
    with pytest.raises(GameNodeError, match=r"within 0\.3 s; the last try: .*nothing listens there") as caught:
        await GameQuery(bench.tools, "teeworlds", "127.0.0.1", port, patience=0.3).run(bench.handle())
    assert caught.value.code is Code.STEP_TIMEOUT


async def test_answers_go_to_the_log_and_the_last_is_an_output() -> None:
    def answers(packet: bytes) -> Iterable[bytes]:
        yield OOB + b"print\n" + packet.split(b" ", 2)[2]

    bench = Bench(None)
    handle = bench.handle()
    async with udp_server(answers) as port:
        result = await bench.step("game.rcon", rcon(port, "status", "say ü")).run(handle)
    assert handle.said == ["> status", "> say ü"]
    assert handle.output == "status\nsay ü\n".encode()
    assert result.outputs == {"reply": "say ü"}


async def test_the_password_is_in_no_line_even_if_the_server_tells_it() -> None:
    bench = Bench(None)
    handle = bench.handle()
    async with udp_server(lambda _: [OOB + f'print\nrconpassword "{PASSWORD}"\n'.encode()]) as port:
        step = bench.step("game.rcon", rcon(port, f"set rconpassword {PASSWORD}"))
        result = await step.run(handle)
    for told in (*handle.said, handle.output.decode(), result.outputs["reply"], repr(step), str(handle.notes)):
        assert PASSWORD not in told
    assert result.outputs["reply"] == 'rconpassword "********"'


async def test_that_it_sends_is_noted_before_it_does() -> None:
    bench = Bench(None)
    handle = bench.handle()
    noted: list[object] = []
    async with udp_server(lambda _: noted.append(handle.notes.get("sending")) or [OOB + b"print\n"]) as port:
        step = bench.step("game.rcon", rcon(port, "map oa_dm2"))
        await step.run(handle)
        assert noted == [True]
        with pytest.raises(LostTrack, match="while it sent commands"):
            await step.run(handle.again())
    assert noted == [True], "a lost attempt sends nothing"


async def test_an_attempt_that_had_not_begun_to_send_does() -> None:
    bench = Bench(None)
    async with udp_server(lambda _: [OOB + b"print\nok\n"]) as port:
        result = await bench.step("game.rcon", rcon(port, "status")).run(bench.handle().again())
    assert result.outputs == {"reply": "ok"}


async def test_nothing_is_sent_where_nothing_can_be_noted() -> None:
    bench = Bench(None)
    handle = bench.handle()
    handle.full = True
    heard: list[bytes] = []
    async with udp_server(lambda packet: heard.append(packet) or []) as port:
        with pytest.raises(OSError, match="No space left"):
            await bench.step("game.rcon", rcon(port, "status")).run(handle)
    assert not heard


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OOB + b"print\nBad rconpassword.\n", WrongPassword),
        (OOB + b"print\nNo rconpassword set on the server.\n", WrongPassword),
    ],
)
async def test_a_refusal_has_its_name(answer: bytes, expected: type[GameNodeError]) -> None:
    bench = Bench(None)
    async with udp_server(lambda _: [answer]) as port:
        with pytest.raises(expected):
            await bench.step("game.rcon", rcon(port, "status")).run(bench.handle())


async def test_a_server_that_is_not_there_and_a_password_that_cannot_be() -> None:
    bench = Bench(None)
    with pytest.raises(NotAnswering):
        await bench.step("game.rcon", rcon(silent_port(), "status")).run(bench.handle())
    with pytest.raises(NotSendable):
        await bench.step("game.rcon", rcon(1, "status", password="a b")).run(bench.handle())

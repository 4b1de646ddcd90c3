"""A container's log comes into its attempt's once each byte, wherever the agent was interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given, settings
from hypothesis import strategies as st

from gamenode_agent.clock import BootClock
from gamenode_agent.containers import spool as spool_module
from gamenode_agent.containers.spool import Spool, last_lines
from gamenode_agent.engines.containers import LogLine
from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, GameNodeError
from support.inline_attempts import FakeHandle


class Log:
    """An engine's log of one container, which may be read from a mark on; `stop_after` lines the reader dies."""

    def __init__(self, lines: list[tuple[int, bytes]], *, forgets: int = 0) -> None:
        self.lines = [LogLine(f"{n:06}", 1000.0 + n / 1000, stream, data) for n, (stream, data) in enumerate(lines)]
        self.forgets = forgets
        self.asked: list[str] = []
        self.stop_after: int | None = None

    async def logs(
        self, container: str, *, after: str = "", since: float = 0.0, tail: int = -1, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        self.asked.append(after)
        given = 0
        for line in self.lines[self.forgets :][-tail if tail >= 0 else None :]:
            if line.mark > after and line.time >= since:
                if given == self.stop_after:
                    raise asyncio.CancelledError
                given += 1
                yield line


LINES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=12)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(LINES, st.lists(st.integers(0, 30), max_size=6), st.lists(st.integers(0, 8), max_size=6), st.booleans())
def test_no_gap_and_no_repeat(lines: list[tuple[int, bytes]], deaths: list[int], lost: list[int], notes: bool) -> None:
    """Agents die after some lines, and bytes that they had written last are lost with them, or not."""

    async def story() -> bytes:
        engine, handle = Log(lines), FakeHandle(Attempt("t", 1, "a", 1), BootClock.from_wall())
        for number, death in enumerate(deaths):
            engine.stop_after = death
            handle.full = not notes
            try:
                await Spool(engine, "c", handle).follow()  # type: ignore[arg-type]
            except asyncio.CancelledError:
                noted = handle.notes.get("spool", {}).get("bytes", 0)
                keep = max(noted, handle.written - (lost[number] if number < len(lost) else 0))
                handle.output = handle.output[:keep]
        engine.stop_after = None
        await Spool(engine, "c", handle).follow()  # type: ignore[arg-type]
        return handle.output

    before, spool_module.NOTE_EVERY = spool_module.NOTE_EVERY, 0.0
    try:
        assert asyncio.run(story()) == b"".join(data for _, data in lines)
    finally:
        spool_module.NOTE_EVERY = before


async def test_it_goes_on_from_its_note_and_not_from_the_beginning() -> None:
    engine = Log([(1, b"%d\n" % n) for n in range(100)])
    handle = FakeHandle(Attempt("t", 1, "a", 1), BootClock.from_wall())
    await Spool(engine, "c", handle).follow()  # type: ignore[arg-type]
    await Spool(engine, "c", handle).rest()  # type: ignore[arg-type]
    assert engine.asked == ["", "000099"]
    assert handle.output.count(b"\n") == 100


async def test_what_the_engine_has_thrown_away_by_now_costs_nothing_that_was_noted() -> None:
    engine = Log([(1, b"%d\n" % n) for n in range(100)])
    engine.stop_after = 60
    handle = FakeHandle(Attempt("t", 1, "a", 1), BootClock.from_wall())
    try:
        await Spool(engine, "c", handle).follow()  # type: ignore[arg-type]
    except asyncio.CancelledError:
        engine.stop_after, engine.forgets = None, 50
    await Spool(engine, "c", handle).follow()  # type: ignore[arg-type]
    assert handle.output == b"".join(b"%d\n" % n for n in range(100))


async def test_lines_that_come_at_once_are_written_together_and_streams_apart() -> None:
    engine = Log([(1, b"a\n"), (1, b"b\n"), (2, b"c\n"), (1, b"d\n")])
    handle = FakeHandle(Attempt("t", 1, "a", 1), BootClock.from_wall())
    await Spool(engine, "c", handle).follow()  # type: ignore[arg-type]
    assert handle.writes == [(1, b"a\nb\n"), (2, b"c\n"), (1, b"d\n")]


async def test_a_log_that_cannot_be_read_is_said_to_be() -> None:
    class Unreadable(Log):
        async def logs(self, *args: object, **more: object) -> AsyncIterator[LogLine]:  # type: ignore[override]
            raise GameNodeError(Code.INVALID_ARGUMENT, "the driver `none` keeps no log")
            yield

    handle = FakeHandle(Attempt("t", 1, "a", 1), BootClock.from_wall())
    await Spool(Unreadable([]), "c", handle).follow()  # type: ignore[arg-type]
    assert "keeps no log" in handle.said[0]
    assert "keeps no log" in await last_lines(Unreadable([]), "c")  # type: ignore[arg-type]


async def test_last_lines_are_the_last() -> None:
    engine = Log([(1, b"%d\n" % n) for n in range(100)])
    assert await last_lines(engine, "c", lines=2) == "98\n99"  # type: ignore[arg-type]
    assert await last_lines(Log([]), "c") == "(it has printed nothing)"  # type: ignore[arg-type]

"""The log and the record of an inline attempt over any number of agents: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamenode_agent.engines import inline_records
from gamenode_agent.engines.inline_log import DELAY, InlineLog
from gamenode_agent.engines.inline_records import FILE, Record, read
from gamenode_agent.supervisor.output import Output
from gamenode_proto.logfile import LogReader
from support.waiting import until

LIMIT = 200


class Life:
    """One agent's hands on an attempt's files; a life that is over just lets go of them."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        kept = read(str(folder))
        if kept is None:
            self.record = Record.begin(str(folder), started_at=1.0, boot_id="boot")
        else:
            self.record = Record.reopen(str(folder), kept)
        self.grown: list[int] = []
        self.log = InlineLog(str(folder / "log"), limit, self.record, self.grown.append)

    def over(self) -> None:
        self.log.close()
        self.record.close()


async def lived(folder: Path) -> Life:
    life = Life(folder)
    await life.log.resume()
    return life


def content(folder: Path) -> tuple[bytes, list[tuple[int, int, str]]]:
    if not (folder / "log").exists():
        return b"", []
    with LogReader(folder / "log") as log:
        return log.read(0, 1 << 20), [(hole.offset, hole.length, hole.reason) for hole in log.holes()]


def as_one(folder: Path, pieces: Sequence[bytes]) -> tuple[bytes, list[tuple[int, int, str]]]:
    """What the same output makes of a log when nobody dies."""
    folder.mkdir()
    output = Output(str(folder / "log"), LIMIT)
    for piece in pieces:
        output.add(piece, 1, 1.0)
    for _ in output.finish(2.0):
        pass
    output.close()
    return content(folder)


WHAT = st.lists(
    st.tuples(st.sampled_from(["write", "write", "say", "note", "die", "die closing"]), st.integers(1, 90)), max_size=30
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(what=WHAT)
def test_a_log_over_many_agents_is_as_one(
    tmp_path_factory: pytest.TempPathFactory, what: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("log")

    async def live() -> list[bytes]:
        pieces: list[bytes] = []
        came = 0
        life = await lived(folder)
        for number, (word, size) in enumerate(what):
            match word:
                case "write":
                    data = (f"{number}:" * size)[:size].encode()
                    life.log.write(data, 1, 1.0)
                    pieces.append(data)
                    came += size
                case "say":
                    text = (f"say{number} " * size)[:size].strip()
                    life.log.say(text, 1.0)
                    pieces.append(text.encode() + b"\n")
                case "note":
                    life.record.note({"n": number}, total=life.log.settled)
                case "die closing":
                    closing = asyncio.get_running_loop().create_task(life.log.finish(2.0))
                    for _ in range(size % 12):
                        await asyncio.sleep(0)
                    closing.cancel()
                    await asyncio.wait({closing})
                    life.over()
                    life = await lived(folder)
                case _:
                    life.over()
                    life = await lived(folder)
            assert life.log.written == came
        summary = await life.log.finish(2.0)
        assert summary["bytes"] == len(content(folder)[0])
        life.log.tidy()
        life.over()
        return pieces

    pieces = asyncio.run(live())
    assert content(folder) == as_one(folder / "reference", pieces)
    assert not [name for name in os.listdir(folder) if ".tail." in name]


async def test_what_came_while_the_disk_was_full_is_a_hole_or_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the dead agent only counted is not known to the next one, and the kind brings it again."""

    def full(_output: Output, _length: int) -> None:
        raise OSError(28, "No space left on device")

    life = await lived(tmp_path)
    for tail in (False, True):
        before = life.log.written
        life.log.write(b"a" * (LIMIT if tail else 10), 1, 1.0)
        monkeypatch.setattr(Output, "_need_room", full)
        life.log.write(b"b" * 7, 1, 1.0)
        settled = [life.log.settled]
        monkeypatch.undo()
        life.log.write(b"c" * 3, 1, 1.0)
        settled.append(life.log.settled)
        assert settled == [None, life.log.written], "until the hole is in the log"
        monkeypatch.setattr(Output, "_need_room", full)
        life.log.write(b"d" * 5, 1, 1.0)
        monkeypatch.undo()
        life.over()
        life = await lived(tmp_path)
        assert life.log.written == before + (LIMIT if tail else 10) + 7 + 3
        life.log.write(b"d" * 5, 1, 1.0)
    summary = await life.log.finish(2.0)
    life.over()
    data, holes = content(tmp_path)
    assert [hole for hole in holes if hole[2] == "disk_full"] == [(10, 7, "disk_full"), (len(data) - 8, 7, "disk_full")]
    assert len(data) + sum(length for _, length, _ in holes) == life.log.written
    assert summary["holes"] == [list(hole) for hole in holes]


async def test_a_growing_log_is_told_of_a_few_times(tmp_path: Path) -> None:
    life = Life(tmp_path, 1 << 20)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < DELAY * 5:
        life.log.write(b"x" * 10, 1, 1.0)
        await asyncio.sleep(0)
    await until(lambda: life.grown and life.grown[-1] == life.log.size)
    assert len(life.grown) <= (loop.time() - began) / DELAY + 1
    life.over()


async def test_a_line_that_cannot_be_told_from_output_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await lived(tmp_path)
    life.log.write(b"output\n", 1, 1.0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Record, "say", full)
    life.log.say("a line of ours", 1.0)
    assert life.log.written == 7
    life.over()
    assert content(tmp_path)[0] == b"output\n"


# -- the record --------------------------------------------------------------------------------------------------------


def test_a_record_is_begun_once(tmp_path: Path) -> None:
    assert read(str(tmp_path)) is None
    Record.begin(str(tmp_path), started_at=5.5, boot_id="boot").close()
    with pytest.raises(FileExistsError):
        Record.begin(str(tmp_path), started_at=6.5, boot_id="boot")
    kept = read(str(tmp_path))
    assert kept is not None
    assert (kept.started_at, kept.boot_id, kept.end) == (5.5, "boot", None)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_a_record_that_was_cut_anywhere_tells_what_was_before(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = str(tmp_path_factory.mktemp("record"))
    record = Record.begin(folder, started_at=5.5, boot_id="boot")
    for number in range(10):
        record.note({"n": number}, total=0)
    record.close()
    whole = Path(folder, FILE).read_bytes()
    os.truncate(f"{folder}/{FILE}", min(cut, len(whole)))
    kept = read(folder)
    assert kept is not None, "the file itself is the evidence"
    lines = whole[:cut].count(b"\n") + (whole[cut : cut + 1] == b"\n")
    assert kept.notes == ({"n": lines - 2} if lines > 1 else {})
    again = Record.reopen(folder, kept)
    again.note({"more": True}, total=0)
    again.end({"exit_code": 0})
    again.close()
    after = read(folder)
    assert after is not None
    assert after.notes == {**kept.notes, "more": True}
    assert after.end == {"exit_code": 0}


def test_a_line_that_does_not_fit_leaves_the_record_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record.begin(str(tmp_path), started_at=1.0, boot_id="boot")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:5]))
    with pytest.raises(OSError, match="No space"):
        record.note({"lost": 1}, total=0)
    monkeypatch.undo()
    record.note({"kept": 1}, total=0)
    record.close()
    kept = read(str(tmp_path))
    assert kept is not None
    assert kept.notes == record.kept.notes == {"kept": 1}


def test_much_that_is_noted_over_and_over_is_kept_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline_records, "_LONG", 2000)
    record = Record.begin(str(tmp_path), started_at=1.5, boot_id="boot")
    record.note({"container": "c1"}, total=0)
    record.say(10, 5)
    record.closing(3, 4)
    for number in range(1000):
        record.note({"mark": f"2026-01-01T00:00:{number}"}, total=500)
    record.say(600, 7)
    record.close()
    assert os.path.getsize(tmp_path / FILE) < 4000
    assert os.listdir(tmp_path) == [FILE]
    kept = read(str(tmp_path))
    assert kept is not None
    assert (kept.started_at, kept.boot_id, kept.closing) == (1.5, "boot", (3, 4))
    assert kept.notes == {"container": "c1", "mark": "2026-01-01T00:00:999"}
    assert (kept.said_of(500), kept.said_of(603), kept.said_of(1000)) == (5, 8, 12)

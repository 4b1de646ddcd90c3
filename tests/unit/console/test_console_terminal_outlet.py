"""Writing to a terminal that reads, stalls, or is gone: nobody waits, nothing is lost that can be shown."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import threading
from collections.abc import Iterator

import pytest

from gamenode_console.terminal.outlet import MOST, RESTORE, Outlet, put_back
from gamenode_console.terminal.watch import is_gone, when_gone
from support.waiting import until

Pair = tuple[int, int]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A terminal's two ends: that of who looks, and that of who draws."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    yield master, slave
    for fd in (master, slave):
        with contextlib.suppress(OSError):  # a test may have closed it
            os.close(fd)


def read(master: int) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(master, 1 << 16):
            found += data
    return found


async def test_what_is_written_arrives_in_order(pair: Pair) -> None:
    master, slave = pair
    outlet, seen = Outlet(slave), b""
    for number in range(1000):
        outlet.write(b"%d," % number)
    while not seen.endswith(b"999,"):
        seen += await until(lambda: read(master), what="more")
    assert seen == b"".join(b"%d," % number for number in range(1000))
    assert not outlet.behind()
    assert outlet.end(5)


async def test_a_terminal_that_stalls_makes_nobody_wait_and_is_told_of_when_it_reads_again(pair: Pair) -> None:
    master, slave = pair
    caught_up = threading.Event()
    outlet = Outlet(slave, caught_up=caught_up.set)
    outlet.write(b"x" * MOST)
    await until(outlet.behind, what="it to be slow")
    assert not caught_up.is_set()
    seen = b""
    while len(seen) < MOST:
        seen += await until(lambda: read(master), what="more")
    await until(caught_up.is_set, what="the word")
    assert not outlet.behind()
    assert outlet.waiting == 0
    assert outlet.end(5)


async def test_who_was_not_told_that_it_is_behind_hears_nothing(pair: Pair) -> None:
    master, slave = pair
    told: list[bool] = []
    outlet = Outlet(slave, caught_up=lambda: told.append(True))
    outlet.write(b"little")
    await until(lambda: outlet.waiting == 0, what="it to be written")
    assert outlet.end(5)
    assert read(master) == b"little"
    assert told == []


def test_a_stalled_terminal_is_left_in_time_and_put_back(pair: Pair) -> None:
    master, slave = pair
    outlet = Outlet(slave)
    outlet.write(b"x" * MOST)
    assert outlet.end(0.1) is False
    outlet.write(b"too late")
    put_back(slave, None)
    assert read(master).endswith(RESTORE)


async def test_a_terminal_that_is_gone_is_no_error(pair: Pair) -> None:
    master, slave = pair
    outlet, gone = Outlet(slave), threading.Event()
    when_gone(slave, gone.set)
    assert not is_gone(slave)
    os.close(master)
    await until(gone.is_set, what="the watch")
    assert is_gone(slave)
    outlet.write(b"for nobody")
    outlet.write(b"x" * MOST)
    outlet.end(5)
    put_back(slave, None)
    assert not outlet.behind(), "nothing waits for a terminal that does not come back"


def test_other_holders_of_the_terminal_find_it_as_it_was(pair: Pair) -> None:
    """A shell whose terminal suddenly does not wait loses output."""
    _, slave = pair
    outlet = Outlet(slave)
    assert not fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK
    outlet.end(1)


async def test_what_is_no_terminal_is_written_to_as_well(pair: Pair) -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing)
    outlet.write(b"plain")
    assert outlet.end(5)
    assert os.read(reading, 100) == b"plain"
    os.close(reading)
    os.close(writing)

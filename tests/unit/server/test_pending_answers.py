"""Questions to an agent: each is answered once, and ends with the session."""

from __future__ import annotations

import pytest

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_server.pending import Pending

GONE = Error(Code.DISCONNECTED, "went away")


async def test_an_answer_reaches_who_asked_once() -> None:
    pending = Pending()
    with pending.asked("a") as fine, pending.asked("b") as wrong:
        error = Error(Code.NOT_FOUND, "no such container")
        assert pending.answered("a", None)
        assert pending.answered("b", error)
        assert not pending.answered("a", error)
        assert (await fine, await wrong) == (None, error)
    assert not pending.answered("a", None)
    assert len(pending) == 0


async def test_a_session_that_ends_answers_for_its_agent() -> None:
    pending = Pending()
    with pending.asked("a") as open_, pending.asked("b") as done:
        pending.answered("b", None)
        pending.end(GONE)
        assert (await open_, await done) == (GONE, None)
    with pytest.raises(GameNodeError, match="went away"), pending.asked("c"):
        pass


async def test_an_agent_is_asked_so_much_at_a_time() -> None:
    pending = Pending(limit=1)
    with pending.asked("a"), pytest.raises(GameNodeError) as caught, pending.asked("b"):
        pass
    assert caught.value.code is Code.LIMIT_EXCEEDED
    with pending.asked("b"):
        assert len(pending) == 1

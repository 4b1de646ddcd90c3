"""The second connection is there while somebody uses it, and there is only one."""

from __future__ import annotations

from typing import Any

from gamenode_agent.link.side_channel import SideChannel


class Channel:
    """What of a channel counts here."""

    def __init__(self) -> None:
        self.closed = False

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_options: None

    async def close(self) -> None:
        self.closed = True


async def test_users_share_a_connection_and_the_last_one_closes_it() -> None:
    opened: list[Any] = []

    def open_channel() -> Any:
        opened.append(Channel())
        return opened[-1]

    side = SideChannel(open_channel)
    assert not opened
    async with side.open():
        async with side.open():
            assert len(opened) == 1
        assert not opened[0].closed
    assert opened[0].closed
    async with side.open():
        assert len(opened) == 2
        assert not opened[1].closed

"""What can go wrong with a game server that is asked something. Nothing else leaves this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gamenode_pipelines.errors import Code, GameNodeError


class GameError(GameNodeError):
    """A game server could not be asked, or not understood. Its text never holds a password."""


class NotAnswering(GameError):
    """Nothing came, or nothing listens there."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(Code.TIMEOUT, f"no answer from {where}: {why}")


class WrongPassword(GameError):
    """The remote console refused the password."""

    def __init__(self, where: str, why: str = "") -> None:
        super().__init__(Code.UNAUTHENTICATED, f"{where} refused the password{f': {why}' if why else ''}")


class Garbled(GameError):
    """What came is no answer of this protocol."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(Code.PROTOCOL_ERROR, f"{where} does not answer in this protocol: {why}")


class NotSendable(GameError):
    """A command or password that this console cannot carry."""

    def __init__(self, why: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, why)


@contextmanager
def network_trouble(where: str, seconds: float) -> Iterator[None]:
    """Names what the network says: a time limit of `seconds` that passed, a refusal, a name nobody knows."""
    try:
        yield
    except TimeoutError:
        raise NotAnswering(where, f"nothing came within {seconds:g} s") from None
    except ConnectionRefusedError:
        raise NotAnswering(where, "nothing listens there") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that is none
        raise NotAnswering(where, str(error)) from None

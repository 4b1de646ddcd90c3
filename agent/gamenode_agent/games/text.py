"""Text of game servers, which follows no encoding anyone agreed on."""

from __future__ import annotations

from gamenode_agent.games.errors import NotSendable

#: Never shown, nor wanted in a name or a command: what a terminal or a line-based protocol would act on.
_CONTROLS = dict.fromkeys((*range(32), 127, *range(128, 160)))


def readable(data: bytes) -> str:
    """Text of these bytes: UTF-8 where they are, else Latin-1, in which every byte is a character and none is lost."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def in_one_line(text: str) -> str:
    """A name or a map, without control characters and what is no character at all."""
    return text.encode("utf-8", "replace").decode().translate(_CONTROLS).strip()


def sendable(text: str, what: str) -> bytes:
    """The bytes of a command or password; `what` names it. Raises NotSendable for what would end it early."""
    if any(ord(character) < 0x20 and character != "\t" for character in text):
        raise NotSendable(f"{what} must be one line, without control characters")
    return text.encode("utf-8", "replace")

"""Copying over SSH: the text goes to the terminal as OSC 52, wrapped where tmux or screen stand in between.

What a terminal does with it cannot be known; so the text is kept in a file too. Source: xterm's control sequences
(OSC 52), tmux(1) `allow-passthrough` and `set-clipboard`, screen(1) device control strings.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gamenode_console.terminal.driver import PatientApp

#: Bytes of base64 that terminals are known to take.
MOST = 74_994
#: screen cuts longer device control strings.
_SCREEN_PIECE = 76


def sequence(text: str, env: Mapping[str, str]) -> str | None:
    """What is written to the terminal to copy a text; None where it is longer than terminals take."""
    encoded = base64.b64encode(text.encode()).decode()
    if len(encoded) > MOST:
        return None
    plain = f"\x1b]52;c;{encoded}\x07"
    if env.get("TMUX"):
        return "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\" + plain
    if env.get("STY"):
        pieces = [plain[i : i + _SCREEN_PIECE] for i in range(0, len(plain), _SCREEN_PIECE)]
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return plain


def send(app: PatientApp[Any], text: str) -> str:
    """Sends a text to the terminal; says what was done, for a person."""
    data = sequence(text, os.environ)
    size = len(text.encode())
    if data is None:
        return f"{size} bytes are more than terminals take"
    if not app.write_aside(data):
        return "the terminal does not keep up, so nothing was sent to its clipboard"
    hint = " (tmux needs set-clipboard on)" if os.environ.get("TMUX") else ""
    return f"sent {size} byte{'' if size == 1 else 's'} to the terminal's clipboard{hint}"


def keep(text: str, file: Path) -> Path | None:
    """Writes a text to a file of its own, for its user only; the file, or None where it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as clip:
            clip.write(text)
    except OSError:
        return None
    return file

"""Text for terminals that show nothing but ASCII: each sign that is not becomes one that is as wide. Pure."""

from __future__ import annotations

import re
from typing import Final

from rich.cells import cell_len

_OTHER = re.compile(r"[^\x00-\x7f]+")
#: What frames, bars and lists are drawn with, by Textual too.
_LIKE: Final = {
    "-": "─━┄┅┈┉╌╍═‐‑‒–—―▔▁🭶⎯",
    "|": "│┃┆┇┊┋╎╏║▏▎▍▌▐▕",
    "+": "┌┍┎┏┐┑┒┓└┕┖┗┘┙┚┛├┝┞┟┠┡┢┣┤┥┦┧┨┩┪┫┬┭┮┯┰┱┲┳┴┵┶┷┸┹┺┻┼┽┾┿╀╁╂╃╄╅╆╇╈╉╊╋╔╗╚╝╠╣╦╩╬╭╮╯╰",
    "#": "█▉▊▋▇▆▅▄▃▂▓▒■▪◼▀",
    ".": "░·•∙…",
    "*": "●◉★✱",
    "o": "○◌",
    "x": "✗✘✕✖×",
    "v": "▼▾✓✔↓",
    "^": "▲▴↑",
    ">": "▶▸›»→❯",
    "<": "◀◂‹«←",
    "'": "‘’′",
    '"': "“”",
    " ": "\u00a0\u2002\u2003\u2009",
}
_TABLE = str.maketrans({sign: plain for plain, signs in _LIKE.items() for sign in signs})


def ascii_only(text: str) -> str:
    """The text with a likeness of each sign, or question marks as wide as it."""
    if text.isascii():
        return text
    return _OTHER.sub(lambda found: "?" * cell_len(found[0]), text.translate(_TABLE))

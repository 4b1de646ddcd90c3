"""What the terminal can do, from the environment: colours, UTF-8, how far away it is. Pure.

Constants of Textual are read when it is imported, so what concerns them has to be set before that.
"""

from __future__ import annotations

import locale
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """A terminal as its environment describes it."""

    utf8: bool
    truecolor: bool
    #: At the other end of SSH, or within tmux or screen: fewer frames, no animations.
    remote: bool
    multiplexed: bool

    @property
    def rate(self) -> float:
        """Beats a second."""
        return 5.0 if self.remote else 10.0

    @property
    def theme(self) -> str:
        """The theme that fits: the terminal's own sixteen colours where it has no more."""
        return "textual-dark" if self.truecolor else "ansi-dark"

    def environment(self) -> dict[str, str]:
        """Variables for Textual, to be set where they are not."""
        found = {"TEXTUAL_ANIMATIONS": "none"}
        if self.remote:
            found |= {"TEXTUAL_FPS": "15", "TEXTUAL_SMOOTH_SCROLL": "0"}
        if self.multiplexed:
            found["TEXTUAL_DISABLE_KITTY_KEY"] = "1"
        return found


def profile(env: Mapping[str, str], *, encoding: str | None = None) -> Profile:
    """The profile of the terminal that `env` tells of."""
    charset = (encoding or locale.getpreferredencoding(False)).lower().replace("-", "")
    term = env.get("TERM", "")
    multiplexed = bool(env.get("TMUX") or env.get("STY"))
    truecolor = env.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "256color" in term or multiplexed
    return Profile(
        utf8=charset == "utf8",
        truecolor=truecolor and term not in ("", "dumb", "linux"),
        remote=bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY")),
        multiplexed=multiplexed,
    )

"""What the terminal can do, from the environment: colours, UTF-8, how far away it is. Pure.

What a person says by `NO_COLOR` and `LC_ALL` goes before all else.

Constants of Textual are read when it is imported, so what concerns them has to be set before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """A terminal as its environment describes it."""

    #: It can place a cursor, without which there are no screens.
    able: bool
    utf8: bool
    #: More colours than its own sixteen.
    colourful: bool
    #: No colours are wanted.
    colourless: bool
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
        return "textual-dark" if self.colourful and not self.colourless else "ansi-dark"

    def environment(self) -> dict[str, str]:
        """Variables for Textual, to be set where they are not."""
        found = {"TEXTUAL_ANIMATIONS": "none"}
        if self.colourless:  # with a theme of RGB colours Textual would make greys of them
            found["TEXTUAL_THEME"] = self.theme
        if self.remote:
            found |= {"TEXTUAL_FPS": "15", "TEXTUAL_SMOOTH_SCROLL": "0"}
        if self.multiplexed:
            found["TEXTUAL_DISABLE_KITTY_KEY"] = "1"
        return found


def profile(env: Mapping[str, str]) -> Profile:
    """The profile of the terminal that `env` tells of."""
    term = env.get("TERM", "")
    return Profile(
        able=term not in ("", "dumb", "unknown"),
        utf8=_utf8(env),
        colourful=env.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "256color" in term,
        colourless=bool(env.get("NO_COLOR")),
        remote=bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY")),
        multiplexed=bool(env.get("TMUX") or env.get("STY")),
    )


def _utf8(env: Mapping[str, str]) -> bool:
    """Whether the locale says UTF-8, or nothing is said.

    Python sets LC_CTYPE to C.UTF-8 by itself where the locale is C (PEP 538), which says nothing of the terminal.
    """
    told = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    lang = env.get("LANG", "")
    if not env.get("LC_ALL") and env.get("LC_CTYPE") == "C.UTF-8" and lang:
        told = lang
    return not told or told.lower().replace("-", "").partition("@")[0].endswith("utf8")

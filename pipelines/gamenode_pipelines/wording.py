"""How messages quote what a user wrote, and find the name that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def shown(text: str, limit: int = 60) -> str:
    """A user's text in quotes, escaped and cut to `limit` characters."""
    return repr(text) if len(text) <= limit else repr(text[:limit])[:-1] + "…'"


def nearest(word: str, names: Iterable[str]) -> str:
    """The valid name that was probably meant, or nothing."""
    by_folded = {name.casefold(): name for name in sorted(names)}
    close = difflib.get_close_matches(word[:64].casefold(), by_folded, n=1, cutoff=0.5 if len(word) < 4 else 0.6)
    return by_folded[close[0]] if close else ""


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names for a sentence: `a, b and c`; of too many, the first ones and a number."""
    words = list(names)
    if len(words) > limit:
        return f"{', '.join(words[:limit])} and {len(words) - limit} more"
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


class UnknownWord(ValueError):
    """A word that is none of those allowed."""

    def __init__(self, word: str, known: Iterable[str]) -> None:
        self._word, self._known = word, tuple(known)
        super().__init__(f"{shown(word)} is none of {listed(self._known)}")

    @property
    def suggestion(self) -> str:
        """The word that was probably meant, or nothing. Looked for only when it is asked for: that takes its time."""
        return nearest(self._word, self._known)

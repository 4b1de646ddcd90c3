"""Changes of labels as people type them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.selectors import validate_label


def label_changes(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What `K=V` sets and what `K-` takes away. Raises GameNodeError (invalid_argument) that names the word."""
    given: dict[str, str] = {}
    gone: list[str] = []
    for word in words:
        key, sign, value = word.partition("=")
        if sign and key:
            validate_label(key, value)
            given[key] = value
        elif not sign and word.endswith("-") and len(word) > 1:
            gone.append(word[:-1])
        else:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"{word!r} is neither K=V, which sets a label, nor K-, which takes it away"
            )
    if both := given.keys() & set(gone):
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{min(both)!r} is both set and taken away")
    return given, gone

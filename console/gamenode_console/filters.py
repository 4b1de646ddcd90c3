"""The filter grammar of lists: pure predicates over documents.

`a b` both, `a|b` either, `!a` not; a bare word is a substring of any shown value (case counts only where the word has
capitals); `~re` is a regular expression; `key=glob`, `key!=glob`, and `key>n`, `key>=n`, `key<n`, `key<=n` compare one
field (`metrics.cpu_percent>80`) or label.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gamenode_pipelines.errors import Code, GameNodeError

Predicate = Callable[[Mapping[str, Any]], bool]

_COMPARISON = re.compile(r"([A-Za-z_][\w./-]*)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_NUMBERS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def parse(text: str) -> Predicate:
    """A predicate from filter text. Raises GameNodeError (invalid_argument) that names the bad word."""
    every = [_alternatives(word) for word in text.split()]
    return lambda document: all(test(document) for test in every)


def _alternatives(word: str) -> Predicate:
    tests = [_term(part) for part in word.split("|") if part]
    if not tests:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"filter: {word!r} has nothing on either side of '|'")
    return lambda document: any(test(document) for test in tests)


def _term(word: str) -> Predicate:
    if word.startswith("!") and len(word) > 1:
        inner = _term(word[1:])
        return lambda document: not inner(document)
    if word.startswith("~"):
        return _pattern(word[1:])
    if match := _COMPARISON.fullmatch(word):
        return _comparison(match[1], match[2], match[3])
    return _substring(word)


def _pattern(source: str) -> Predicate:
    try:
        pattern = re.compile(source)
    except re.error as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"filter: {source!r} is no regular expression: {error}") from error
    return lambda document: any(pattern.search(text) for text in _texts(document))


def _substring(word: str) -> Predicate:
    if word != word.lower():
        return lambda document: any(word in text for text in _texts(document))
    return lambda document: any(word in text.lower() for text in _texts(document))


def _comparison(key: str, sign: str, operand: str) -> Predicate:
    if sign in _NUMBERS:
        try:
            bound = float(operand)
        except ValueError:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"filter: {key}{sign}{operand}: {operand!r} is no number"
            ) from None
        compare = _NUMBERS[sign]

        def numeric(document: Mapping[str, Any]) -> bool:
            try:
                return bool(compare(float(look_up(document, key)), bound))
            except (TypeError, ValueError):
                return False

        return numeric
    wanted = sign == "="

    def equal(document: Mapping[str, Any]) -> bool:
        found = look_up(document, key)
        text = "" if found is None else str(found).lower() if isinstance(found, bool) else str(found)
        return fnmatch.fnmatchcase(text, operand) is wanted

    return equal


def look_up(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, else the label of that name, else None."""
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            labels = document.get("labels")
            return labels.get(path) if isinstance(labels, Mapping) else None
        value = value[part]
    return value


def _texts(value: Any) -> Iterator[str]:
    """Every scalar of a document, and `key=value` of its labels."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "labels" and isinstance(inner, Mapping):
                yield from (f"{name}={text}" for name, text in inner.items())
            else:
                yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif value is not None:
        yield str(value)

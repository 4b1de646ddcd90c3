"""YAML text to a tree whose every node knows its line and column, within limits that no text can get past.

Owns the YAML dialect: UTF-8 without control characters, scalars by the YAML 1.2 core schema (`on`, `no` and `22:22` are
text), no anchors, aliases or tags, no repeated keys. Nodes are built from libyaml's *events*, so that the limits hold
while it reads: its own composer recurses without a bound. Knows nothing of pipelines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from gamenode_pipelines.wording import shown

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_EVENTS: Final = 200_000
#: Reading stops when this many things are wrong.
MAX_PROBLEMS: Final = 100

_FORBIDDEN: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_NULL: Final = re.compile(r"null|Null|NULL|~|")
_BOOLEAN: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SPECIAL_FIRST: Final = frozenset(["", *"0123456789+-.~nNtTfF"])
#: Longer ones cannot be within any range, and Python refuses to read them.
_MAX_DIGITS: Final = 40

Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is in the text. Lines and columns count from 1, `index` from 0."""

    line: int
    column: int
    index: int = 0


START: Final = Place(1, 1)

#: Told of everything that is wrong: where, and what.
Report = Callable[[Place, str], None]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value: `text` as it stands, `value` as the core schema reads it."""

    place: Place
    text: str
    value: Plain
    #: As it stands in the file, quotes and indentation included.
    source: str
    #: Quoted or a block: its content is text, whatever it looks like.
    quoted: bool = False

    def places(self, marker: str, count: int) -> list[Place]:
        """Where in the file each `marker` of the text is; the scalar's own place for all where that is unclear."""
        if self.source.count(marker) != count:
            return [self.place] * count
        found: list[Place] = []
        position = newlines = line_start = 0
        for _ in range(count):
            index = self.source.index(marker, position)
            if more := self.source.count("\n", position, index):
                newlines += more
                line_start = self.source.rindex("\n", position, index) + 1
            column = index - line_start + 1 if newlines else self.place.column + index
            found.append(Place(self.place.line + newlines, column, self.place.index + index))
            position = index + len(marker)
        return found

    def at(self, offset: int) -> Place:
        """Where a character of the text is in the file; exact where the text is on one line without escapes."""
        if "\n" in self.source:
            return self.place
        shift = offset + (1 if self.quoted else 0)
        return Place(self.place.line, self.place.column + shift, self.place.index + shift)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the order of the file. Of repeated keys only the first is here."""

    place: Place
    entries: dict[str, tuple[Scalar, Node]]

    def get(self, key: str) -> Node | None:
        """The value of a key."""
        entry = self.entries.get(key)
        return entry[1] if entry else None

    def key_place(self, key: str) -> Place:
        """Where a key is; the mapping's own place where it has none."""
        entry = self.entries.get(key)
        return entry[0].place if entry else self.place


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. `start` is where its text begins: its `---`, or what comes before the first one."""

    root: Node
    start: int


def is_text(text: str) -> bool:
    """Whether the core schema reads these characters, unquoted, as text."""
    special = text[:1] in _SPECIAL_FIRST and (
        text in _BOOLEAN or _NULL.fullmatch(text) or _INTEGER.fullmatch(text) or _FLOAT.fullmatch(text)
    )
    return not special


def check_text(text: str, report: Report) -> bool:
    """Reports a text that is too large or has characters that have no place in it; says whether it may be read."""
    if (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_BYTES:
        report(START, f"the file has {size} bytes; at most {MAX_BYTES} (1 MiB) are allowed")
        return False
    match = _FORBIDDEN.search(text)
    if match is None:
        return True
    report(
        place_of(text, match.start()), f"the character {_code(match[0])} is not allowed in a pipeline file; remove it"
    )
    return False


def place_of(text: str, index: int) -> Place:
    """The line and column of a character."""
    before = text[:index].replace("\r\n", "\n ").replace("\r", "\n") if "\r" in text else text[:index]
    return Place(before.count("\n") + 1, index - before.rfind("\n"), index)


def read(text: str, report: Report) -> tuple[Document, ...]:
    """The documents of a text that passed `check_text`, up to where it can be read; empty ones are left out.

    Everything wrong is reported; the tree is then what could be made of the rest.
    """
    reader = _Reader(text, report)
    try:
        return tuple(reader.documents())
    except yaml.MarkedYAMLError as error:
        place = _mark(error.problem_mark or error.context_mark)
        report(place, _syntax_message(error, text, place))
    except yaml.YAMLError as error:
        report(START, f"not YAML: {' '.join(str(error).split())}")
    except _Stop:
        pass  # what it stopped for has been reported
    return tuple(reader.finished)


#: Stands for a key that cannot be one.
_NO_KEY: Final = Scalar(START, "", None, "")


class _Stop(Exception):
    """A limit was reached."""


class _Reader:
    """Builds nodes from events, with an own stack instead of recursion."""

    def __init__(self, text: str, report: Report) -> None:
        self._text = text
        self._report = report
        self._events = self._limited(yaml.parse(text, yaml.CSafeLoader))
        self._problems = 0
        self.finished: list[Document] = []

    def documents(self) -> Iterator[Document]:
        start = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                start = _mark(event.start_mark).index if self.finished or event.explicit else 0
            elif isinstance(event, NodeEvent):
                root = self._node(event)
                if not (isinstance(root, Scalar) and root.value is None):
                    self.finished.append(Document(root, start))
                    yield self.finished[-1]

    def _limited(self, events: Iterator[Event]) -> Iterator[Event]:
        depth = 0
        for number, event in enumerate(events):
            if number >= MAX_EVENTS:
                self._stop(_mark(event.start_mark), f"the file has more than {MAX_EVENTS} elements; split it")
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    self._stop(_mark(event.start_mark), f"nested more than {MAX_DEPTH} levels deep")
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                depth -= 1
            yield event

    def _node(self, event: NodeEvent) -> Node:
        """The node that begins with this event, with all that is in it."""
        open_nodes: list[_Open] = []
        node: Node | None = self._begin(event, open_nodes)
        while open_nodes:
            if node is not None:
                self._add(open_nodes[-1], node)
                node = None
            event = next(self._events)  # type: ignore[assignment]  # inside a node only these come
            if isinstance(event, MappingEndEvent | SequenceEndEvent):
                node = open_nodes.pop().close()
                if not open_nodes:
                    return node
            else:
                node = self._begin(event, open_nodes)
        assert node is not None  # a lone scalar
        return node

    def _begin(self, event: NodeEvent, open_nodes: list[_Open]) -> Node | None:
        """A scalar's node; or None, after opening a collection."""
        place = _mark(event.start_mark)
        if event.anchor is not None:
            kind = "alias (*)" if isinstance(event, AliasEvent) else "anchor (&)"
            self._problem(place, f"the {kind} {shown(event.anchor)} is not allowed; write the value where it is used")
        if (tag := getattr(event, "tag", None)) is not None:
            self._problem(place, f"the tag {shown(tag)} is not allowed; remove it")
        if isinstance(event, ScalarEvent):
            return self._scalar(event, place)
        if isinstance(event, AliasEvent):
            return Scalar(place, "", None, "")
        open_nodes.append(_Open(place, {} if isinstance(event, MappingStartEvent) else None))
        return None

    def _scalar(self, event: ScalarEvent, place: Place) -> Scalar:
        text: str = event.value
        if match := _FORBIDDEN.search(text):
            self._problem(
                place,
                f"the value holds the character {_code(match[0])}, which is not allowed; a script can make it itself",
            )
        source = self._text[place.index : _mark(event.end_mark).index]
        if event.style:  # quoted or a block
            return Scalar(place, text, text, source, quoted=True)
        return Scalar(place, text, self._resolve(text, place), source)

    def _resolve(self, text: str, place: Place) -> Plain:
        first = text[:1]
        if first not in _SPECIAL_FIRST:  # most values are words
            return text
        if _NULL.fullmatch(text):
            return None
        if (boolean := _BOOLEAN.get(text)) is not None:
            return boolean
        if _INTEGER.fullmatch(text):
            if len(text) > _MAX_DIGITS:
                self._problem(place, f"the number {text[:20]}… has too many digits; quote it if it is text")
                return 0
            return int(text, 8) if text.startswith("0o") else int(text, 16) if text.startswith("0x") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text.replace(".inf", "inf").replace(".nan", "nan") if text[-1:].isalpha() else text)
        return text

    def _add(self, parent: _Open, node: Node) -> None:
        if parent.entries is None:
            parent.items.append(node)
        elif parent.key is None:
            if isinstance(node, Scalar) and (node.text or node.quoted):
                parent.key = node
            else:
                self._problem(node.place, "a key must be a word")
                parent.key = _NO_KEY
        else:
            key, parent.key = parent.key, None
            if key is _NO_KEY:
                return
            first = parent.entries.get(key.text)
            if first is None:
                parent.entries[key.text] = (key, node)
            else:
                self._problem(
                    key.place, f"{shown(key.text)} is already set in line {first[0].place.line}; remove one of them"
                )

    def _problem(self, place: Place, message: str) -> None:
        self._report(place, message)
        self._problems += 1
        if self._problems >= MAX_PROBLEMS:
            raise _Stop

    def _stop(self, place: Place, message: str) -> None:
        self._report(place, message)
        raise _Stop


@dataclass(slots=True)
class _Open:
    """A collection that is being read. `entries` is None for a list."""

    place: Place
    entries: dict[str, tuple[Scalar, Node]] | None
    items: list[Node] = field(default_factory=list)
    key: Scalar | None = None

    def close(self) -> Node:
        return Sequence(self.place, tuple(self.items)) if self.entries is None else Mapping(self.place, self.entries)


def _mark(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1, mark.index) if mark is not None else START


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def _syntax_message(error: yaml.MarkedYAMLError, text: str, place: Place) -> str:
    """libyaml's words, with the cause where it can be told from the line."""
    problem = error.problem or "cannot be read"
    context = f" {error.context}" if error.context else ""
    if error.context and error.context_mark is not None and error.context_mark.line + 1 != place.line:
        context += f" that begins in line {error.context_mark.line + 1}"
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    hint = ""
    if line[: place.column].lstrip(" ").startswith("\t"):
        hint = "; indent with spaces, not with tabs"
    elif "${{" in line:
        hint = '; a value with ${{ }} in it must be quoted here: "${{ … }}"'
    elif line[place.column - 1 : place.column] in ("@", "`", "%"):
        hint = "; quote the value"
    elif "mapping values are not allowed" in problem:
        hint = "; if the value has ': ' in it, quote it"
    return f"not YAML:{context}{':' if context else ''} {problem}{hint}"

"""The types of values with parts: lists, mappings of free names, records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gamenode_pipelines.kinds.fields import FieldType, Leaf, Schema, is_template
from gamenode_pipelines.kinds.wrong import Findings, Item
from gamenode_pipelines.plan import Setting
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import kind_of


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a kind or of a record. `later` says why it is not yet there, and what to do meanwhile."""

    type: FieldType
    doc: str
    required: bool = False
    default: Any = None
    later: str = ""

    @property
    def unset(self) -> Any:
        """What stands for it where it is not given."""
        return self.type.empty if self.default is None else self.default


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list. `rule` looks at the typed items together, and `gather` makes of them what the field has."""

    item: Leaf
    rule: Callable[[Sequence[Any]], object] = tuple
    gather: Callable[[Sequence[Any]], tuple[Any, ...]] = tuple
    blank: bool = False

    @property
    def word(self) -> str:
        """What it is, in a word or two."""
        return f"list of {self.item.word}"

    @property
    def empty(self) -> tuple[Any, ...]:
        """No items."""
        return ()

    def check(self, value: object) -> tuple[Any, ...]:
        """The typed items; raises Wrong."""
        items = each(self.item.check, value)
        self.rule(items)
        return self.gather(items)

    def normal(self, value: object) -> Setting:
        """The items as a plan has them."""
        items = tuple(each(self.item.normal, value))
        self.rule([self.item.check(item) for item in items if not is_template(item)])
        return items

    def schema(self) -> Schema:
        """A list in a file."""
        return {"type": "array", "items": self.item.schema()}


def each(read: Callable[[object], Any], value: object) -> list[Any]:
    """What `read` makes of each item of a list; raises Wrong with what is wrong with any of them."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list, not {kind_of(value)}")
    findings = Findings()
    items: list[Any] = []
    for number, item in enumerate(value):
        with findings.at(number):
            items.append(read(item))
    findings.end()
    return items


@dataclass(frozen=True, slots=True)
class MappingOf:
    """Names that nobody knows beforehand, each with a value; `key` checks a name."""

    value: Leaf
    key: Callable[[str], object] = str
    blank: bool = False

    @property
    def word(self) -> str:
        """What it is, in a word or two."""
        return "mapping"

    @property
    def empty(self) -> dict[str, Any]:
        """Nothing by name."""
        return {}

    def check(self, value: object) -> dict[str, Any]:
        """The typed values by name; raises Wrong."""
        return self._each(self.value.check, value)

    def normal(self, value: object) -> Setting:
        """The values as a plan has them."""
        return self._each(self.value.normal, value)

    def _each(self, read: Callable[[object], Any], value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a mapping of keys to values, not {kind_of(value)}")
        findings = Findings()
        items: dict[str, Any] = {}
        for name, item in value.items():
            try:
                on_key = True
                if "${{" in name:
                    raise ValueError(f"expressions are not allowed in a key, as in {shown(name)}")
                self.key(name)
                on_key = False
                items[name] = read(item)
            except ValueError as error:
                findings.take(name, error, on_key=on_key)
        findings.end()
        return items

    def schema(self) -> Schema:
        """A mapping in a file."""
        return {"type": "object", "additionalProperties": self.value.schema()}


Rule = Callable[[Mapping[str, Any]], Iterable[Item]]


def _no_rule(values: Mapping[str, Any]) -> Iterable[Item]:
    return ()


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping whose names are known. `rule` finds what is wrong between its fields; `meant` knows others' words."""

    fields: Mapping[str, Field]
    #: What it is the record of, for messages.
    name: str = ""
    rule: Rule = _no_rule
    meant: Mapping[str, str] = field(default_factory=dict)
    #: Makes of the typed fields what the record is.
    build: Callable[[dict[str, Any]], Any] = dict
    #: Whether it is None where it is not given; else its fields are there, each unset.
    optional: bool = False
    blank: bool = False

    @property
    def word(self) -> str:
        """What it is, in a word or two."""
        return "mapping"

    @property
    def empty(self) -> Any:
        """None, or the record with nothing in it."""
        return None if self.optional else self.build({name: entry.unset for name, entry in self.fields.items()})

    def check(self, value: object) -> Any:
        """The record with every field in it, typed; raises Wrong."""
        findings = Findings()
        given = self._given(value, findings)
        values = {name: entry.unset for name, entry in self.fields.items()}
        for name, item in given.items():
            entry = self.fields[name]
            if item == "" and isinstance(item, str) and not entry.required and not entry.type.blank:
                continue  # an expression that gave nothing
            with findings.at(name):
                values[name] = entry.type.check(item)
                if entry.required and values[name] in ("", ()):
                    raise ValueError("is empty")
        findings.add(*self.rule(given))
        findings.end()
        return self.build(values)

    def said(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Of checked values those that say more than is so without them. A new field changes nothing in it."""
        found: dict[str, Any] = {}
        for name, entry in self.fields.items():
            value = values.get(name, entry.unset)
            if value != entry.unset:
                inner = isinstance(entry.type, Record) and isinstance(value, Mapping)
                found[name] = entry.type.said(value) if inner else value  # type: ignore[attr-defined]
        return found

    def normal(self, value: object) -> dict[str, Setting]:
        """The given fields as a plan has them, in the order of the table."""
        findings = Findings()
        given = self._given(value, findings)
        values: dict[str, Setting] = {}
        for name, entry in self.fields.items():
            if name in given:
                with findings.at(name):
                    values[name] = entry.type.normal(given[name])
                    if entry.required and values[name] in ("", ()):
                        raise ValueError("is empty")
        findings.add(*self.rule(given))
        findings.end()
        return values

    def _given(self, value: object, findings: Findings) -> dict[str, Any]:
        """The fields that are given and known; takes down those that are not, and those that are missing."""
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a mapping of keys to values, not {kind_of(value)}")
        given: dict[str, Any] = {}
        of = f" of {self.name}" if self.name else ""
        for name, item in value.items():
            if name not in self.fields:
                text, meant = f"unknown field {shown(name)}{of}", self.meant.get(name, "")
                findings.add(Item((name,), text, on_key=True, known=self.fields.keys(), meant=meant))
            elif later := self.fields[name].later:
                findings.add(Item((name,), f"not yet: {later}", on_key=True))
            else:
                given[name] = item
        for name, entry in self.fields.items():
            if entry.required and name not in value:
                findings.add(Item((name,), f"`{name}` is missing{of.replace(' of ', ' in ')}", missing=True))
        return given

    def schema(self) -> Schema:
        """A mapping in a file, with these keys and no others."""
        properties = {
            name: {**entry.type.schema(), "description": entry.doc, **_default(entry)}
            for name, entry in self.fields.items()
            if not entry.later
        }
        required = [name for name, entry in self.fields.items() if entry.required]
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**schema, "required": required} if required else schema


def _default(entry: Field) -> Schema:
    return {} if entry.default is None else {"default": entry.type.normal(entry.default)}


def below(type: FieldType | None, name: str) -> FieldType | None:
    """The type of a part: of a record's or mapping's item by its name, of any item of a list. None: not known."""
    match type:
        case Record():
            entry = type.fields.get(name)
            return entry.type if entry else None
        case MappingOf():
            return type.value
        case ListOf():
            return type.item
        case _:
            return None

"""Single values as a file has them, and what they are in words. Knows no YAML and no validators."""

from __future__ import annotations

from collections.abc import Mapping

from gamenode_pipelines.wording import shown


class Written(str):
    """An unquoted value of a file that is no text there: its characters, with what they stand for as `value`."""

    value: int | float | bool

    def __new__(cls, text: str, value: int | float | bool) -> Written:
        """The characters as they stand, and their value."""
        written = super().__new__(cls, text)
        written.value = value
        return written


def kind_of(value: object) -> str:
    """What a value of a file is, for messages."""
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return shown(str(value))


def text_of(value: object) -> str:
    """The characters of a single value; raises ValueError for anything else."""
    match value:
        case str():
            return str(value)  # of a Written, its characters alone
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))  # as expressions write it
        case int() | float():
            return str(value)
        case None:
            raise ValueError('must be text, but there is nothing; write "" for an empty one')
        case _:
            raise ValueError(f"must be text, not {kind_of(value)}")


def value_of(value: object) -> object:
    """What a value stands for."""
    return value.value if isinstance(value, Written) else value

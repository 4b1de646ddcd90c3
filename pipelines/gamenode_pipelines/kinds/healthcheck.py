"""A container's health check: what the engine runs, how often, and when it gives up."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from gamenode_pipelines.kinds.commands import without_script
from gamenode_pipelines.kinds.fields import DURATION, Schema, is_template, whole
from gamenode_pipelines.kinds.shapes import Field, Record
from gamenode_pipelines.plan import Setting
from gamenode_pipelines.written import kind_of, text_of

_FORMS: Final = ("CMD", "CMD-SHELL", "NONE")


class Health(NamedTuple):
    """How an engine sees whether a container is well. `test` begins with CMD, CMD-SHELL or NONE; seconds."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3


class Test:
    """What is run: a text for the container's shell, or a list, the command and its arguments."""

    word = "text or list"
    blank = False
    empty = ()

    def check(self, value: object) -> tuple[str, ...]:
        """The test as engines have it; raises ValueError."""
        if isinstance(value, list | tuple):
            words = tuple(map(text_of, value))
            if not words or words in (("CMD",), ("CMD-SHELL",)):
                raise ValueError("is empty; write the command to run")
            return words if words[0] in _FORMS else ("CMD", *words)
        if isinstance(value, dict):
            raise ValueError(f"must be a text or a list, not {kind_of(value)}")
        text = text_of(value)
        if not text.strip():
            raise ValueError("is empty; write the command to run")
        return ("NONE",) if text == "NONE" else ("CMD-SHELL", text)

    def normal(self, value: object) -> Setting:
        """The same, with its expressions; in a shell's text they would become a part of the script."""
        test = self.check(value)
        if test[0] == "CMD-SHELL" and any(map(is_template, test)):
            raise ValueError("has an expression in a shell's text, where its value would be script; write a list")
        without_script(test)
        return test

    def schema(self) -> Schema:
        """A text or a list in a file."""
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}]}


def _health(values: dict[str, Any]) -> Health:
    return Health(**values)


HEALTHCHECK: Final = Record(
    {
        "test": Field(Test(), "A text for the container's shell, or a list, the command; `NONE` for none.", True),
        "interval": Field(DURATION, "How long between two checks.", default=30.0),
        "timeout": Field(DURATION, "How long one may take.", default=30.0),
        "start_period": Field(DURATION, "How long failures do not count after the start.", default=0.0),
        "retries": Field(whole(1, 1000), "How many failures in a row make it unhealthy.", default=3),
    },
    name="a health check",
    build=_health,
    optional=True,
)

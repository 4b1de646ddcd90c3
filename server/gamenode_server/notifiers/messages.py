"""What a notifier says of an event: the names that its templates see, the ready-made bodies, and the finished text.

A value never becomes more than a value: templates inside of JSON are filled in text by text, and then written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gamenode_pipelines import expressions
from gamenode_pipelines.runs import Run
from gamenode_proto.v1 import work_pb2
from gamenode_server.records import Node

#: What an expression of a notifier may begin with.
ROOTS = ("event",)
#: Characters of one fact, and of the sentence about all; Discord takes 2,000.
MAX_FACT = 500
MAX_TEXT = 1500

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"

_ESCAPED = (
    '${{ event.text | replace("&", "&amp;") | replace("<", "&lt;") | replace(">", "&gt;") }}'  # Slack's own rules
)
FORMATS: Mapping[str, Any] = {
    "json": {"event": "${{ event }}"},
    # Nobody is called by a name in an event: `allowed_mentions`.
    "discord": {"content": "${{ event.text }}", "allowed_mentions": {"parse": []}},
    "slack": {"text": _ESCAPED},
}

Document = dict[str, Any]


def document(event: work_pb2.Event, *, id: str, node: Node | None, run: Run | None) -> Document:
    """An event as templates see it: only what JSON has."""
    data = {key: value[:MAX_FACT] for key, value in sorted(event.data.items())}
    found: Document = {
        "id": id,
        "type": event.type,
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "node": node.name if node is not None else "",
        "node_id": event.node_id,
        "labels": dict(sorted(node.labels.items())) if node is not None else {},
        "pipeline": run.pipeline if run is not None else data.get("pipeline", ""),
        "run": event.run_id,
        "task": event.task_id,
        "step": event.step_id,
        "actor": event.actor,
        "data": data,
    }
    return {**found, "text": _text(found)}


def sample(*, id: str, wall: float, actor: str = "", type: str = "notifier.test") -> Document:
    """An event that did not happen, to try a notifier with."""
    event = work_pb2.Event(type=type, time=wall, actor=actor, data={"message": "this is a test of GameNode"})
    return document(event, id=id, node=None, run=None)


def body(template: Any, event: Document) -> bytes:
    """A notifier's body for an event. Raises ExpressionError where a template cannot be filled in."""
    if isinstance(template, str):
        return expressions.render(template, {"event": event}, roots=ROOTS).encode()
    return json.dumps(_filled(template, event), ensure_ascii=False, separators=(",", ":")).encode()


def key(template: str, event: Document) -> str:
    """A text of a template, such as the key by which messages are the same."""
    return expressions.render(template, {"event": event}, roots=ROOTS)


def _filled(template: Any, event: Document) -> Any:
    match template:
        case str():
            source = expressions.whole(template)
            if source == "event":
                return event
            if source is not None:
                return expressions.evaluate(source, {"event": event}, roots=ROOTS)
            return expressions.render(template, {"event": event}, roots=ROOTS)
        case dict():
            return {str(name): _filled(value, event) for name, value in template.items()}
        case list() | tuple():
            return [_filled(value, event) for value in template]
        case _:
            return template


def _text(event: Document) -> str:
    """One line for people: `run.failed: pipeline deploy on eu-1, run 4f…: exit_nonzero: …`."""
    where = [
        f"{what} {event[name]}"
        for what, name in (("node", "node"), ("pipeline", "pipeline"), ("run", "run"), ("step", "step"))
        if event[name]
    ]
    data: Mapping[str, str] = event["data"]
    facts = [f"{name} {value}" if name != "message" else value for name, value in data.items() if name != "pipeline"]
    by = [f"by {event['actor']}"] if event["actor"] else []
    parts = [", ".join(where), ", ".join(facts), *by]
    line = f"{event['type']}: {'; '.join(part for part in parts if part)}".removesuffix(": ")
    return "".join(character if character.isprintable() else " " for character in line)[:MAX_TEXT]

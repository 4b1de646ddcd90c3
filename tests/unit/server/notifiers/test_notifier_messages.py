"""What notifiers say, with whatever names and texts events bring; and when they say nothing."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import work_pb2
from gamenode_server.notifiers import messages
from gamenode_server.notifiers.silence import DAYS, Hours
from support.stores import a_node, a_run

HOSTILE = '"}, "x": "${{ event.actor }} <!channel> @everyone \x1b[31m \n & \\'


def event(**fields: object) -> messages.Document:
    proto = work_pb2.Event(type="node.offline", time=1_800_000_000.5, node_id="n1", run_id="r1", **fields)  # type: ignore[arg-type]
    return messages.document(
        proto, id="7", node=a_node("n1", "eu-1", labels={"role": "game"}), run=a_run("r1", pipeline="deploy")
    )


def test_an_event_as_templates_see_it() -> None:
    found = event(actor="alice", data={"reason": "silent for 60 s"})
    assert found == {
        "id": "7", "type": "node.offline", "time": "2027-01-15T08:00:00.500Z", "node": "eu-1", "node_id": "n1",
        "labels": {"role": "game"}, "pipeline": "deploy", "run": "r1", "task": "", "step": "", "actor": "alice",
        "data": {"reason": "silent for 60 s"},
        "text": "node.offline: node eu-1, pipeline deploy, run r1; reason silent for 60 s; by alice",
    }  # fmt: skip


@pytest.mark.parametrize("name", list(messages.FORMATS))
def test_hostile_text_stays_a_text_in_every_format(name: str) -> None:
    found = event(actor=HOSTILE, data={"message": HOSTILE})
    body = json.loads(messages.body(messages.FORMATS[name], found))
    match name:
        case "json":
            assert body == {"event": found}
        case "discord":
            assert set(body) == {"content", "allowed_mentions"}
            assert body["allowed_mentions"] == {"parse": []}
            assert "${{ event.actor }}" in body["content"]
        case _:
            assert set(body) == {"text"}
            assert "<!channel>" not in body["text"]
            assert "&lt;!channel&gt;" in body["text"]


def test_the_sentence_is_one_line_of_a_length_that_chats_take() -> None:
    text = event(data={f"k{n}": "x" * 10_000 for n in range(10)} | {"message": HOSTILE})["text"]
    assert len(text) <= messages.MAX_TEXT < 2000
    assert text.isprintable()


def test_values_of_a_json_body_keep_their_kinds_and_unknown_facts_are_empty() -> None:
    template = {"n": 3, "ok": True, "none": None, "list": ["${{ event.labels.role }}", "${{ event.data.nothing }}"]}
    assert json.loads(messages.body(template, event())) == {**template, "list": ["game", ""]}
    assert messages.body("${{ event.node | upper }} is ${{ event.type }}", event()) == b"EU-1 is node.offline"


def test_a_text_that_would_grow_without_end_is_refused() -> None:
    found = event(data={"a": "x" * 500})
    with pytest.raises(GameNodeError, match="grows beyond"):
        messages.body("${{ event.data.a }}" * 3000, found)


# --- silence ---------------------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        ("2026-11-27T21:59", False),  # a Friday
        ("2026-11-27T22:00", True),
        ("2026-11-28T05:59", True),
        ("2026-11-28T06:00", False),
        ("2026-11-28T23:00", True),
        ("2026-11-29T05:00", True),
        ("2026-11-29T23:00", False),  # it does not begin on a Sunday
        ("2026-11-27T03:00", False),  # nor on a Thursday
        ("2026-03-28T23:00", True),  # the night in which clocks go forward
        ("2026-03-29T05:59", True),
        ("2026-10-24T23:30", True),  # and back
        ("2026-10-25T05:59", True),
        ("2026-10-25T06:00", False),
    ],
)
def test_a_night_belongs_to_the_day_it_begins_on_also_when_clocks_change(moment: str, quiet: bool) -> None:
    nights = Hours(22 * 60, 6 * 60, frozenset({DAYS.index("fri"), DAYS.index("sat")}), BERLIN)
    assert nights.holds(at(moment)) is quiet


def test_hours_of_one_day_and_the_whole_day() -> None:
    noon = Hours(12 * 60, 13 * 60, frozenset(range(7)), BERLIN)
    assert [noon.holds(at(f"2026-11-27T{time}")) for time in ("11:59", "12:00", "12:59", "13:00")] == [
        False, True, True, False,
    ]  # fmt: skip
    always = Hours(0, 0, frozenset({DAYS.index("sun")}), BERLIN)
    assert always.holds(at("2026-11-29T00:00"))
    assert always.holds(at("2026-11-29T23:59"))
    assert not always.holds(at("2026-11-30T00:00"))

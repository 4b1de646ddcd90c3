"""What a container is made from has a name: the same for the same words, in whichever version of the agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from gamenode_agent.containers.specs import spec_hash
from gamenode_pipelines import kinds
from gamenode_pipelines.kinds.fields import FLAG, TEXT
from gamenode_pipelines.kinds.shapes import Field, Record


class LaterPort(NamedTuple):
    """A port as a later version may have it."""

    container_port: int
    protocol: str = "tcp"
    host_port: int | None = None
    host_ip: str = ""
    name: str = ""


def digest(with_: Mapping[str, Any]) -> str:
    return spec_hash(kinds.check("container.run", {"name": "oa", "image": "oa:1", **with_}), {"A": "1"})


def test_the_same_words_have_the_same_name_and_others_another() -> None:
    plain = digest({})
    assert digest({"name": "other", "replace": True, "pull": "never"}) == plain, "that is not what it is made from"
    assert digest({"restart": "no", "tty": False, "resources": {}}) == plain, "as it is without them"
    others = [
        {"image": "oa:2"}, {"tty": True}, {"entrypoint": []}, {"command": ["x"]}, {"ports": ["80"]},
        {"ports": ["80/udp"]}, {"ports": ["81:80"]}, {"volumes": ["/a:/b"]}, {"volumes": ["/a:/b:ro"]},
        {"resources": {"cpus": 1}}, {"resources": {"cpus": 2}}, {"healthcheck": {"test": ["CMD", "x"]}},
        {"healthcheck": {"test": ["CMD", "x"], "retries": 7}}, {"stop": {"grace": 3}},
    ]  # fmt: skip
    assert len({plain, *map(digest, others)}) == len(others) + 1


@pytest.mark.parametrize("with_", [{}, {"resources": {"cpus": 1}, "ports": ["28000:27960/udp"], "tty": True}])
def test_a_later_version_with_more_fields_finds_the_same_name(
    monkeypatch: pytest.MonkeyPatch, with_: dict[str, Any]
) -> None:
    before = digest(with_)
    kind = kinds.KINDS["container.run"]
    resources = kind.fields["resources"].type
    assert isinstance(resources, Record)
    more = replace(resources, fields={**resources.fields, "swap": Field(TEXT, "", default="none")})
    fields = {**kind.fields, "resources": Field(more, ""), "read_only": Field(FLAG, "")}
    monkeypatch.setattr(kinds, "KINDS", {"container.run": replace(kind, record=replace(kind.record, fields=fields))})
    assert digest(with_) == before
    assert digest({**with_, "read_only": True}) != before
    assert digest({**with_, "resources": {"swap": "all"}}) != before


def test_a_part_that_later_has_more_parts_has_the_same_name() -> None:
    values = kinds.check("container.run", {"name": "oa", "image": "oa", "ports": ["28000:27960/udp"]})
    later = {**values, "ports": (LaterPort(27960, "udp", 28000),)}
    assert spec_hash(later, {}) == spec_hash(values, {})
    assert spec_hash({**values, "ports": (LaterPort(27960, "udp", 28000, "", "game"),)}, {}) != spec_hash(values, {})

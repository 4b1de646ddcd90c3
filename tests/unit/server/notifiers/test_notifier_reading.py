"""What the config file may say of notifiers, and what a wrong word is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process.settings import load
from gamenode_server.config import ServerSettings
from gamenode_server.notifiers.reading import as_written, read
from gamenode_server.notifiers.silence import Hours
from gamenode_server.place import Place
from gamenode_server.succession import settings_left, write_settings

LEAST = {"name": "n", "url": "https://chat.example/hook/very-secret", "events": ["run.failed"]}


def config(tmp_path: Path, text: str) -> ServerSettings:
    file = tmp_path / "gamenode.yaml"
    file.write_text(text)
    return load(ServerSettings, file=file)


def test_the_least_there_is() -> None:
    (notifier,) = read([LEAST])
    assert (notifier.kind, notifier.target) == ("webhook", "https://chat.example/…")
    assert notifier.hears("run.failed", None)
    assert not notifier.hears("run.failed.twice", None)
    assert (notifier.timeout, notifier.keep, notifier.queue) == (10, 86_400, 1000)
    assert "very-secret" not in repr(notifier)


@pytest.mark.parametrize(
    ("patterns", "event", "heard"),
    [
        (["run.*"], "run.failed", True),
        (["run.*"], "rune.failed", False),
        (["*"], "node.offline", True),
        (["*.failed"], "step.failed", True),
        (["node.offline", "node.online"], "node.suspect", False),
    ],
)
def test_events_by_type(patterns: list[str], event: str, heard: bool) -> None:
    assert read([{**LEAST, "events": patterns}])[0].hears(event, {}) is heard


def test_a_selector_wants_a_node_with_these_labels() -> None:
    (notifier,) = read([{**LEAST, "events": ["*"], "select": "role=game,region in (eu,us)"}])
    assert notifier.hears("node.offline", {"role": "game", "region": "eu"})
    assert not notifier.hears("node.offline", {"role": "game", "region": "asia"})
    assert not notifier.hears("run.failed", None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "Not A Name"}, r"\[0\]\.name: 'Not A Name' is not a name"),
        ({"type": "mail"}, r"type: 'mail' is not one of webhook and command"),
        ({"evnets": []}, "unknown key 'evnets'; did you mean 'events'"),
        ({"events": []}, "events: which"),
        ({"events": ["rnu.failed"]}, "no event begins with 'rnu'; did you mean 'run'"),
        ({"events": ["run failed"]}, "is not a type of events"),
        ({"events": [7]}, "is not a type of events"),
        ({"select": "role in ("}, r"\[0\] \(n\)\.select: "),
        ({"url": "ftp://x"}, r"\.url: is not a URL that begins with https"),
        ({"url": "https://user:very-secret@x/"}, "has a user in it"),
        ({"url": "https://x:99999/very-secret"}, "is not a URL"),
        ({"url": "https://x/very secret"}, "is not a URL"),
        ({"url-file": "/x"}, "needs one of url and url-file"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "must be one line"),
        ({"headers": {"X A": "a"}}, "is not a header's name"),
        ({"headers": {"Host": "a"}}, "Host is set by GameNode itself"),
        ({"headers": {"Webhook-Signature": "a"}}, "is set by GameNode itself"),
        ({"format": "teams"}, "format: 'teams' is not one of json, discord and slack"),
        ({"format": "slack", "body": "x"}, "both format and body"),
        ({"body": 7}, "body: must be text, or a mapping or list"),
        ({"body": "${{ evnet.text }}"}, "there is no 'evnet'"),
        ({"body": {"a": ["${{ event.txet }}"]}}, "txet.*did you mean"),
        ({"body": "${{ params.x }}"}, "there is no 'params' here; there are event"),
        ({"body": "${{ event.text"}, "has no }}"),
        ({"body": "${{ event.text.__class__ }}"}, "__class__"),
        ({"timeout": "0s"}, "must be between 0.1 s and 120 s"),
        ({"timeout": "1h"}, "must be between"),
        ({"keep": "90d"}, r"\.keep: "),
        ({"queue": 0}, r"\.queue: 0 must be at least 1"),
        ({"queue": 10**9}, "at most 100000 may wait"),
        ({"rate": {"count": 0}}, "count: 0 must be at least 1"),
        ({"rate": {"cuont": 1}}, "did you mean 'count'"),
        ({"dedupe": {"key": "x"}}, "needs a window"),
        ({"dedupe": {"window": "10m", "key": "${{ node.name }}"}}, "there is no 'node' here"),
        ({"dedupe": "10m"}, "must hold keys and values"),
        ({"silence": [{"from": "25:00", "to": "06:00"}]}, r"silence\[0\]\.from: '25:00' is later than 24:00"),
        ({"silence": [{"from": "22:00"}]}, "needs from and to, or until"),
        ({"silence": [{"from": "1:00", "to": "2:00", "days": ["sunday"]}]}, "must be a list of mon, tue"),
        ({"silence": [{"from": "1:00", "to": "2:00", "timezone": "Mars/X"}]}, "'Mars/X' is not a time zone"),
        ({"silence": [{"until": "tomorrow"}]}, "is not a time such as"),
        ({"type": "command"}, "unknown key 'url'"),
    ],
)
def test_a_wrong_word_is_told_where_and_what(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        read([{**LEAST, **change}])
    assert "very-secret" not in str(error.value)


@pytest.mark.parametrize("argv", [None, "echo hi", [], ["echo"], ["/bin/sh", 3], ["/bin/sh", "a\0b"]])
def test_a_command_is_a_list_with_a_whole_path(argv: object) -> None:
    with pytest.raises(ValueError, match=r"\.command: "):
        read([{"name": "n", "type": "command", "events": ["*"], "command": argv}])


@pytest.mark.parametrize("value", ["discord", 7, [3], [["x"]], [{**LEAST, "timeout": float("nan")}]])
def test_what_is_no_list_of_notifiers_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"list|keys|JSON"):
        as_written(value)


def test_two_of_one_name_and_too_many() -> None:
    with pytest.raises(ValueError, match="'n' is there twice"):
        read([LEAST, LEAST])
    with pytest.raises(ValueError, match="51 are too many"):
        read([{**LEAST, "name": f"n{number}"} for number in range(51)])


def test_a_config_file_names_file_key_and_notifier(tmp_path: Path) -> None:
    with pytest.raises(GameNodeError, match=r"gamenode.yaml: server.notifiers: \[0\] \(d\).events: which"):
        config(tmp_path, "server: {notifiers: [{name: d, url: 'http://x/'}]}")
    with pytest.raises(GameNodeError, match="GAMENODE_NOTIFIERS: is a list, and stands in the config file only"):
        load(ServerSettings, env={"GAMENODE_NOTIFIERS": "x"})


def test_hours_as_yaml_reads_them_without_quotes_mean_what_they_say(tmp_path: Path) -> None:
    text = """
server:
  notifiers:
    - {name: d, url: "http://x/", events: "*", silence: [{from: 22:30, to: 06:05}, {until: 2026-12-24}]}
"""
    hours, until = read(config(tmp_path, text).notifiers)[0].silences
    assert isinstance(hours, Hours)
    assert (hours.begin, hours.end) == (22 * 60 + 30, 6 * 60 + 5)
    assert until.holds(datetime(2026, 12, 23, 23, 59, tzinfo=UTC).timestamp())
    assert not until.holds(datetime(2026, 12, 24, 0, 1, tzinfo=UTC).timestamp())


def test_a_standby_in_another_folder_has_the_same_notifiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(
        tmp_path, "server: {notifiers: [{name: d, url-file: secret/url, events: run.*, silence: {until: 2026-12-24}}]}"
    )
    place = Place(tmp_path / "data")
    place.own.mkdir(parents=True)
    write_settings(place, settings)
    monkeypatch.chdir("/")
    assert read(settings_left(place).notifiers) == read(settings.notifiers)
    assert json.loads(place.standby_settings.read_text())["server"]["notifiers"][0]["url-file"] == str(
        tmp_path / "secret" / "url"
    )

"""Which server is meant: flags, environment, contexts, defaults; and what is said when none is there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gamenode_console import contexts, discovery
from gamenode_console.settings import ClientSettings
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import places


@pytest.fixture(autouse=True)
def _no_system_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "SYSTEM_SOCKET", tmp_path / "no-such-system.sock")


def env(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(tmp_path), **more}


def store(tmp_path: Path, current: str, **data_dirs: str) -> None:
    contexts.save(
        contexts.file_of(env(tmp_path)),
        contexts.Contexts(current, {name: contexts.Context(path) for name, path in data_dirs.items()}),
    )


def test_a_flag_beats_everything(tmp_path: Path) -> None:
    store(tmp_path, "lab", lab="/lab", other="/other")
    chosen = discovery.choose_place(
        ClientSettings(data_dir=Path("/flag"), context="other"), env(tmp_path), flags={"data_dir": "/flag"}
    )
    assert chosen == discovery.Place(Path("/flag"), "--data-dir")
    named = discovery.choose_place(
        ClientSettings(data_dir=Path("/env"), context="other"), env(tmp_path), flags={"context": "other"}
    )
    assert named.data_dir == Path("/other")


def test_two_servers_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GameNodeError, match="both name a server"):
        discovery.choose_place(ClientSettings(), env(tmp_path), flags={"data_dir": "/a", "context": "b"})


def test_then_the_environment_the_current_context_the_system_and_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, "lab", lab="/lab", other="/other")
    here = env(tmp_path)

    def chosen(**settings: object) -> Path:
        return discovery.choose_place(ClientSettings(**settings), here, flags={}).data_dir  # type: ignore[arg-type]

    assert chosen(data_dir=Path("/env")) == Path("/env")
    assert chosen(context="other") == Path("/other")
    assert chosen() == Path("/lab")
    store(tmp_path, "", lab="/lab")
    assert chosen() == places.default_data_dir(here)
    system = tmp_path / "system.sock"
    system.touch()
    monkeypatch.setattr(places, "SYSTEM_SOCKET", system)
    assert chosen() == places.SYSTEM_DATA_DIR


def test_an_unknown_context_names_the_known(tmp_path: Path) -> None:
    store(tmp_path, "", lab="/lab")
    with pytest.raises(GameNodeError, match=r"no context 'lap' \(known: lab\)") as caught:
        discovery.choose_place(ClientSettings(context="lap"), env(tmp_path), flags={})
    assert caught.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("text", ["", "[]", "{", '{"contexts": 3}', '{"contexts": {"a": {}}}'])
def test_a_damaged_contexts_file_is_named(tmp_path: Path, text: str) -> None:
    file = contexts.file_of(env(tmp_path))
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(GameNodeError, match=r"contexts\.json holds no contexts"):
        contexts.load(file)


def test_contexts_are_added_used_and_removed() -> None:
    known = contexts.Contexts().add("lab", contexts.Context("/lab")).use("lab")
    assert known.add("lab", contexts.Context("/lab")) == known
    with pytest.raises(GameNodeError, match="names /lab"):
        known.add("lab", contexts.Context("/elsewhere"))
    with pytest.raises(GameNodeError, match="no context name"):
        known.add("../x", contexts.Context("/x"))
    assert known.remove("lab") == contexts.Contexts()


NETWORK = contexts.Context(connect="prod:7445", credentials="/keys/alice.json")


def test_contexts_of_both_kinds_are_kept(tmp_path: Path) -> None:
    file = contexts.file_of(env(tmp_path))
    known = contexts.Contexts().add("lab", contexts.Context("/lab")).add("prod", NETWORK).use("prod")
    contexts.save(file, known)
    assert contexts.load(file) == known


def chosen(tmp_path: Path, flags: dict[str, str], **settings: object) -> discovery.Place | discovery.NetworkTarget:
    return discovery.choose(ClientSettings(**settings), env(tmp_path), flags=flags)  # type: ignore[arg-type]


def test_a_server_elsewhere_is_named_by_flag_environment_or_context(tmp_path: Path) -> None:
    contexts.save(contexts.file_of(env(tmp_path)), contexts.Contexts("prod", {"prod": NETWORK}))
    keys = Path("/keys/bob.json")
    there = chosen(tmp_path, {"connect": "a:1"}, connect="a:1", credentials=keys, data_dir=Path("/env"))
    assert there == discovery.NetworkTarget("a:1", keys, "--connect")
    assert chosen(tmp_path, {}, connect="a:1", credentials=keys, data_dir=Path("/env")).origin.startswith("GAMENODE_C")
    assert chosen(tmp_path, {}) == discovery.NetworkTarget("prod:7445", Path("/keys/alice.json"), "context prod")
    here = chosen(tmp_path, {"data_dir": "/flag"}, connect="a:1", credentials=keys, data_dir=Path("/flag"))
    assert here == discovery.Place(Path("/flag"), "--data-dir")
    named = chosen(tmp_path, {"context": "prod"}, connect="a:1", credentials=keys, context="prod")
    assert named.origin == "context prod"


def test_an_address_needs_credentials_and_credentials_an_address(tmp_path: Path) -> None:
    with pytest.raises(GameNodeError, match=r"a:1 wants to know who you are: give --credentials FILE.* user create"):
        chosen(tmp_path, {"connect": "a:1"}, connect="a:1")
    with pytest.raises(GameNodeError, match="--credentials goes with --connect"):
        chosen(tmp_path, {"credentials": "x"}, credentials=Path("x"))
    with pytest.raises(GameNodeError, match="--connect and --data-dir both name a server"):
        chosen(tmp_path, {"connect": "a:1", "data_dir": "/a"})


def test_what_is_for_this_machine_says_so(tmp_path: Path) -> None:
    settings = ClientSettings(connect="a:1", credentials=Path("/keys"))
    with pytest.raises(GameNodeError, match=r"GAMENODE_CONNECT .* names a:1: give --data-dir"):
        discovery.choose_place(settings, env(tmp_path), flags={})


def target(data_dir: Path) -> discovery.Target:
    return discovery.find_target(discovery.Place(data_dir, "--data-dir"))


def test_the_socket_comes_from_server_json(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(json.dumps({"pid": 7, "version": "1", "control_socket": "/x/y.sock"}))
    found = target(tmp_path)
    assert (found.control_socket, found.pid) == (Path("/x/y.sock"), 7)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_useless_server_json_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    with pytest.raises(GameNodeError, match="no server has run on") as caught:
        target(tmp_path)
    assert caught.value.code is Code.DISCONNECTED
    (tmp_path / "control.sock").touch()
    assert target(tmp_path).control_socket == tmp_path / "control.sock"


def test_a_server_that_died_is_told_from_one_that_does_not_answer(tmp_path: Path) -> None:
    place = discovery.Place(tmp_path, "--data-dir")
    error = GameNodeError(Code.DISCONNECTED, "no answer")
    dead = discovery.explain_lost(discovery.Target(place, tmp_path / "s", pid=2**22 + 1), error)
    assert "no longer running" in dead.message
    alive = discovery.explain_lost(discovery.Target(place, tmp_path / "s", pid=os.getpid()), error)
    assert "no answer" in alive.message
    assert f"gamenode --data-dir {tmp_path} up" in alive.message
    other = GameNodeError(Code.NOT_FOUND, "x")
    assert discovery.explain_lost(discovery.Target(place, tmp_path / "s"), other) is other

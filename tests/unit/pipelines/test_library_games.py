"""deploy-game-server and remove-game-server: the settings they write for a server, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gamenode_pipelines import expressions
from gamenode_pipelines.compile import compile_plan
from gamenode_pipelines.library import shipped
from gamenode_pipelines.load import load_pipelines


def run(pipeline: str, step_id: str, folder: Path, *, code: int = 0, **params: str) -> tuple[Path | None, str]:
    """The file of settings a step speaks of, and what it prints."""
    spec = load_pipelines(shipped()[pipeline], pipeline)[0].spec
    plan = compile_plan(spec, {"name": "oa-1", "folder": str(folder / "settings"), **params}, version=1)
    step = plan.step(step_id)
    assert step.script is not None
    output = folder / "output"
    output.write_text("")
    env = {name: expressions.render(value, {"params": plan.params}) for name, value in step.env.items()}
    env |= {"PATH": os.environ["PATH"], "GAMENODE_OUTPUT": str(output)}
    argv = [sys.executable, "-c", step.script.text]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    path = dict(line.split("=", 1) for line in output.read_text().splitlines()).get("path")
    return Path(path) if path else None, done.stdout + done.stderr


def config(folder: Path, **params: str) -> str:
    path, _ = run("deploy-game-server", "config", folder, **params)
    assert path is not None
    return path.read_text("utf-8")


def test_the_settings_of_openarena(tmp_path: Path) -> None:
    text = config(tmp_path, title='A "fine"; été\\server', rcon_password="s3same!", map="oa_dm2", slots="12")
    assert text.splitlines() == [
        'set rconpassword "s3same!"',
        "set sv_hostname \"A 'fine', été/server\"",
        "set sv_maxclients 12",
        "map oa_dm2",
    ]


def test_the_settings_of_teeworlds(tmp_path: Path) -> None:
    lines = config(tmp_path, game="teeworlds", port="28303", rcon_password="s3same").splitlines()
    assert 'sv_name "oa-1"' in lines
    assert "sv_map dm1" in lines
    assert "sv_port 28303" in lines
    assert "ec_bindaddr 127.0.0.1" in lines
    assert 'ec_password "s3same"' in lines
    assert not any(line.startswith("ec_") for line in config(tmp_path, game="teeworlds").splitlines())


def test_a_console_that_is_published_listens_in_its_own_network(tmp_path: Path) -> None:
    assert "ec_bindaddr 0.0.0.0" in config(tmp_path, game="teeworlds", rcon_password="s3same", network="bridge")


def test_only_the_game_gets_to_the_settings(tmp_path: Path) -> None:
    path, said = run("deploy-game-server", "config", tmp_path, rcon_password="s3same")
    assert path is not None
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o644, "another user of the container's reads it"
    assert "s3same" not in said


def test_each_settings_have_a_file_of_their_own(tmp_path: Path) -> None:
    first, _ = run("deploy-game-server", "config", tmp_path, title="a")
    other, _ = run("deploy-game-server", "config", tmp_path, title="b")
    again, _ = run("deploy-game-server", "config", tmp_path, title="a")
    assert first == again != other


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"rcon_password": "two words"}, "must be one word"),
        ({"rcon_password": 'a"b'}, "must be one word"),
        ({"rcon_password": "a;quit"}, "must be one word"),
        ({"map": "dm1; quit"}, "cannot be a map"),
        ({"name": "../etc"}, "cannot be a container's name"),
    ],
)
def test_what_would_end_a_text_early_is_refused(tmp_path: Path, params: dict[str, str], said: str) -> None:
    path, told = run("deploy-game-server", "config", tmp_path, code=1, **params)
    assert path is None
    assert said in told
    assert params.get("rcon_password", "?") not in told


def test_settings_go_with_the_server(tmp_path: Path) -> None:
    path, _ = run("deploy-game-server", "config", tmp_path)
    assert path is not None
    other, _ = run("deploy-game-server", "config", tmp_path, name="oa-2")
    assert other is not None
    run("remove-game-server", "settings", tmp_path)
    assert not path.parent.exists()
    assert other.exists()
    run("remove-game-server", "settings", tmp_path)


@pytest.mark.parametrize("name", ["..", ".", "../settings/oa-1", ""])
def test_no_other_folder_is_removed(tmp_path: Path, name: str) -> None:
    path, _ = run("deploy-game-server", "config", tmp_path)
    assert path is not None
    run("remove-game-server", "settings", tmp_path, name=name)
    assert path.exists()

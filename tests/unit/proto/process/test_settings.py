from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click
import pytest
from click.testing import CliRunner

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import parsers
from gamenode_proto.process.settings import load, options, schema, setting


@dataclass(frozen=True, slots=True)
class Settings:
    PROGRAM: ClassVar[str] = "server"
    listen: str = setting("0.0.0.0:7443", doc="Where agents connect.", parse=parsers.address)
    suspect_after: float = setting(20.0, doc="Silence.")
    advertise: tuple[str, ...] = setting((), doc="Names.", parse=parsers.addresses)
    slots: int = setting(8, doc="Tasks at once.", parse=parsers.positive)
    data_dir: Path = setting(Path("/data"), doc="Where things are kept.")  # noqa: RUF009 - it is a field
    log_format: str = setting("text", doc="Form.", parse=parsers.one_of("text", "json"))
    verify: bool = setting(True, doc="Whether.")
    key: str = setting("", doc="The key.", secret=True)
    cap: int = setting(1024, doc="Bytes.", parse=parsers.size, hidden=True)


def loaded(tmp_path: Path, yaml: str = "", env: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    file = tmp_path / "gamenode.yaml"
    file.write_text(yaml)
    return load(Settings, flags=flags, env=env or {}, file=file)


def problem(tmp_path: Path, yaml: str = "", env: Mapping[str, str] | None = None, **flags: Any) -> str:
    with pytest.raises(GameNodeError) as caught:
        loaded(tmp_path, yaml, env, **flags)
    assert caught.value.code in (Code.INVALID_ARGUMENT, Code.NOT_FOUND)
    return caught.value.message


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    yaml = "server: {listen: 'f:1', suspect-after: 1m, slots: 2}\nagent: {what: ever}"
    env = {"GAMENODE_LISTEN": "e:2", "GAMENODE_SUSPECT_AFTER": "2s", "GAMENODE_UNRELATED": "x"}
    settings = loaded(tmp_path, yaml, env, listen="g:3", slots=None)
    assert (settings.listen, settings.suspect_after, settings.slots, settings.verify) == ("g:3", 2.0, 2, True)


def test_each_type_is_read_from_text_and_from_yaml(tmp_path: Path) -> None:
    text = loaded(
        tmp_path,
        env={"GAMENODE_ADVERTISE": "a:1, b:2", "GAMENODE_VERIFY": "off", "GAMENODE_CAP": "1.5k"},
        data_dir="rel",
    )
    assert text.advertise == ("a:1", "b:2")
    assert text.verify is False
    assert text.cap == 1536
    assert text.data_dir == Path.cwd() / "rel"
    yaml = loaded(tmp_path, "server: {advertise: ['a:1'], verify: false, suspect-after: 3, cap: 7}")
    assert (yaml.advertise, yaml.verify, yaml.suspect_after, yaml.cap) == (("a:1",), False, 3.0, 7)


def test_what_is_wrong_names_the_file_the_key_and_the_nearest(tmp_path: Path) -> None:
    file = str(tmp_path / "gamenode.yaml")
    assert f"{file}: unknown key 'server.lisen'; did you mean 'listen'?" in problem(tmp_path, "server: {lisen: x}")
    assert "unknown key 'server.suspect_after'; did you mean 'suspect-after'?" in problem(
        tmp_path, "server: {suspect_after: 1}"
    )
    assert "unknown key 'sever'; did you mean 'server'?" in problem(tmp_path, "sever: {}")
    assert f"{file}: server.listen: 'x' is not HOST:PORT" in problem(tmp_path, "server: {listen: x}")
    assert f"{file}: server.slots: has no value" in problem(tmp_path, "server: {slots: }")
    assert "server.slots: 'many' is not a whole number" in problem(tmp_path, "server: {slots: many}")
    assert "server: must hold settings" in problem(tmp_path, "server: [1]")
    assert "must hold sections" in problem(tmp_path, "- 1")
    assert f"{file}:1:" in problem(tmp_path, "server: {listen: 'a:1'")
    assert "GAMENODE_SLOTS: 0 must be at least 1" in problem(tmp_path, env={"GAMENODE_SLOTS": "0"})
    assert "--log-format: 'xml' is not one of text, json" in problem(tmp_path, log_format="xml")
    assert "--suspect-after:" in problem(tmp_path, suspect_after="soon")
    assert "does not exist" in problem(tmp_path, config=str(tmp_path / "none.yaml"))
    assert "cannot read" in problem(tmp_path, config=str(tmp_path))


def test_a_secret_may_come_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("hunter2\n")
    assert loaded(tmp_path, env={"GAMENODE_KEY_FILE": str(secret)}).key == "hunter2"
    assert loaded(tmp_path, f"server: {{key-file: '{secret}'}}").key == "hunter2"
    assert "both set" in problem(tmp_path, env={"GAMENODE_KEY_FILE": str(secret), "GAMENODE_KEY": "x"})
    assert "both set" in problem(tmp_path, f"server: {{key: x, key-file: '{secret}'}}")
    assert "cannot read" in problem(tmp_path, env={"GAMENODE_KEY_FILE": "/nowhere"})
    assert "hunter2" not in problem(tmp_path, "server: {key: [hunter2]}")
    assert "listen-file" in problem(tmp_path, "server: {listen-file: x}")


def run_command(*arguments: str) -> Any:
    @click.command()
    @options(Settings)
    def command(flags: dict[str, Any]) -> None:
        """Says what it was given."""
        click.echo(repr(load(Settings, flags=flags)))

    return CliRunner().invoke(command, arguments)


def test_options_come_from_the_fields() -> None:
    shown = run_command("--help").output
    assert "--listen HOST:PORT" in shown
    assert "--verify / --no-verify" in shown
    assert "--log-format text|json" in shown
    assert "GAMENODE_SUSPECT_AFTER; default: 20s" in " ".join(shown.split())
    assert "--cap" not in shown
    result = run_command("--listen", "a:1", "--no-verify", "--suspect-after", "1m")
    assert result.exit_code == 0
    assert "listen='a:1'" in result.output
    assert "suspect_after=60.0" in result.output
    assert "verify=False" in result.output


def test_the_schema_has_every_key_and_no_secret_default() -> None:
    section = schema([Settings])["properties"]["server"]
    assert section["additionalProperties"] is False
    assert section["properties"]["listen"] == {
        "type": "string",
        "description": "Where agents connect.",
        "default": "0.0.0.0:7443",
    }
    assert "key-file" in section["properties"]

"""What is started is started once, as asked, and what cannot be started says why."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gamenode_agent.supervisor import protocol
from gamenode_agent.supervisor.client import AttemptKey, Phase
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import StopPolicy
from gamenode_proto.logfile import STDERR, STDOUT, LogReader
from support.supervised import Supervised, alive, supervised

ROOT = os.geteuid() == 0
NOTHING = hashlib.sha256().hexdigest()


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Supervised]:
    async with supervised(tmp_path) as host:
        yield host


def test_the_supervisors_words_are_the_codes_everyone_uses() -> None:
    words = {value for name, value in vars(protocol).items() if name.isupper() and isinstance(value, str)} - {
        protocol.RUNNING,
        protocol.ENDED,
        protocol.UNKNOWN,
    }
    assert words <= set(Code)
    told = {phase.value for phase in Phase} - {Phase.INTERRUPTED}  # which is only said of what no supervisor runs
    assert told == {protocol.RUNNING, protocol.ENDED, protocol.UNKNOWN}


def test_a_key_survives_its_text() -> None:
    key = AttemptKey("abc", 3, "step_1", 2)
    assert AttemptKey.parse(str(key)) == key


async def test_a_process_runs_and_its_end_is_told_with_its_log(host: Supervised) -> None:
    report = await host.run("echo out; echo err >&2; exit 3")
    assert (report.phase, report.exit_code, report.error, report.may_have_started) == (Phase.ENDED, 3, None, True)
    assert report.ended_at >= report.started_at > 0
    data = host.log(report.key)
    assert sorted(data.splitlines()) == [b"err", b"out"]
    assert report.log is not None
    assert (report.log.bytes, report.log.lines, report.log.holes) == (8, 2, ())
    assert report.log.sha256 == hashlib.sha256(data).hexdigest()


async def test_a_silent_process_makes_no_log_file(host: Supervised) -> None:
    report = await host.run("true")
    assert report.log is not None
    assert (report.exit_code, report.log.bytes, report.log.lines, report.log.sha256) == (0, 0, 0, NOTHING)
    assert [path.name for path in host.directory(report.key).iterdir()] == ["state.jsonl"]


async def test_streams_are_told_apart_and_keep_their_order_in_time(host: Supervised) -> None:
    script = "for i in 1 2 3; do echo out$i; sleep 0.03; echo err$i >&2; sleep 0.03; done"
    report = await host.run(script)
    with LogReader(host.directory(report.key) / "log") as log:
        chunks = [(c.stream, log.read(c.offset, c.length)) for c in log.chunks()]
        times = [c.time for c in log.chunks()]
    assert chunks == [
        (stream, b"%s%d\n" % (word, i)) for i in (1, 2, 3) for stream, word in ((STDOUT, b"out"), (STDERR, b"err"))
    ]
    assert times == sorted(times)
    assert 0.1 < times[-1] - times[0] < 2
    assert report.started_at <= times[0]
    assert times[-1] <= report.ended_at


async def test_asking_twice_starts_once(host: Supervised) -> None:
    key = host.key()
    marker = host.data_dir / "marker"
    request = host.request(["sh", "-c", f"echo x >> {marker}; sleep 0.3"], key)
    first, second = await asyncio.gather(host.client.spawn(request), host.client.spawn(request))
    assert first.pid == second.pid > 0
    ended = await host.end_of(key)
    again = await host.client.spawn(request)
    assert again == ended
    await host.client.forget([key])
    # Forgotten by the process, not by the disk.
    assert await host.client.spawn(request) == ended
    assert marker.read_text() == "x\n"


async def test_the_environment_is_what_was_asked_for_and_little_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMENODE_SECRET_KEY", "do not pass on")
    monkeypatch.setenv("AWS_SECRET", "nor this")
    async with supervised(tmp_path) as host:
        key = AttemptKey("t", 7, "say", 2)
        await host.client.spawn(host.request(["env"], key, env={"A": "ü", "GAMENODE_FENCE": "forged"}))
        await host.end_of(key)
        env = dict(line.split("=", 1) for line in host.log(key).decode().splitlines())
    marks = {name: value for name, value in env.items() if name.startswith("GAMENODE_")}
    assert marks == {
        "GAMENODE_TASK_ID": "t",
        "GAMENODE_FENCE": "7",
        "GAMENODE_STEP_ID": "say",
        "GAMENODE_ATTEMPT": "2",
    }
    assert env["A"] == "ü"
    allowed = {"PATH", "LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "A", *marks}
    assert set(env) <= allowed


async def test_a_process_has_its_own_session_no_input_and_no_foreign_descriptors(host: Supervised) -> None:
    report = await host.run("cut -d' ' -f1,5,6 /proc/$$/stat; readlink /proc/$$/fd/0; ls /proc/$$/fd | wc -w; pwd")
    ids, stdin, descriptors, cwd = host.log(report.key).decode().splitlines()
    assert ids == " ".join([str(report.pid)] * 3)
    assert stdin == "/dev/null"
    assert int(descriptors) <= 4  # 0, 1, 2 and the folder that `ls` does not even share
    assert cwd == str(host.directory(report.key))


async def test_ignored_signals_are_not_passed_on(host: Supervised) -> None:
    report = await host.run("grep -E 'Sig(Ign|Blk)' /proc/self/status")
    masks = [int(line.split()[1], 16) for line in host.log(report.key).decode().splitlines()]
    assert [mask & 0x7FFF_FFFF for mask in masks] == [0, 0]  # what is above 31 is the C library's own


async def test_a_signal_that_ended_it_is_named(host: Supervised) -> None:
    report = await host.run("kill -SEGV $$")
    assert report.exit_code == 128 + 11
    assert report.error is not None
    assert (report.error.code, report.error.details) == (Code.EXIT_NONZERO, {"signal": "SIGSEGV"})


async def test_nothing_of_the_environment_is_written_to_disk(host: Supervised) -> None:
    report = await host.run("true", env={"TOKEN": "hunter2hunter2"})
    files = [path for path in host.data_dir.rglob("*") if path.is_file()]
    assert files
    assert not any(b"hunter2" in path.read_bytes() for path in files)
    lines = [json.loads(line) for line in (host.directory(report.key) / "state.jsonl").read_text().splitlines()]
    assert ["boot_id" in lines[0], "pid" in lines[1], "final" in lines[2]] == [True] * 3


@pytest.mark.parametrize(
    ("argv", "more", "code", "words"),
    [
        (["no-such-program"], {}, Code.NOT_FOUND, "no-such-program"),
        (["/no/such/program"], {}, Code.NOT_FOUND, "/no/such/program"),
        (["/etc/passwd"], {}, Code.PERMISSION_DENIED, "cannot be executed"),
        (["/"], {}, Code.PERMISSION_DENIED, "cannot be executed"),
        (["true"], {"cwd": "/no/such/folder"}, Code.NOT_FOUND, "working directory /no/such/folder"),
        (["true"], {"cwd": "/etc/hostname"}, Code.NOT_FOUND, "working directory"),
        (["true"], {"user": "nobody-here"}, Code.INVALID_ARGUMENT, "no user 'nobody-here'"),
        (["true"], {"user": "0:no-group"}, Code.INVALID_ARGUMENT, "no group 'no-group'"),
        (["true", "a\0b"], {}, Code.INVALID_ARGUMENT, "null"),
        (["true"], {"env": {"A=B": "x"}}, Code.INVALID_ARGUMENT, "variable name"),
        (["true", "x" * 200_000], {}, Code.INVALID_ARGUMENT, "too long"),
        ([], {}, Code.INVALID_ARGUMENT, "no command"),
    ],
)
async def test_what_cannot_be_started_says_why(
    host: Supervised, argv: list[str], more: dict[str, Any], code: Code, words: str
) -> None:
    request = host.request(argv, None, **more)
    report = await host.client.spawn(request)
    assert (report.phase, report.exit_code, report.pid, report.may_have_started) == (Phase.ENDED, None, 0, False)
    assert report.error is not None
    assert report.error.code is code
    assert words in report.error.message
    # It is told like any end, stays what it is, and is still known to a supervisor that has forgotten it.
    assert await host.end_of(report.key) == report
    await host.client.forget([report.key])
    assert await host.client.spawn(request) == report


async def test_a_script_without_its_interpreter_says_so(host: Supervised) -> None:
    script = host.data_dir / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    report = await host.run([str(script)])
    assert report.error is not None
    assert "interpreter" in report.error.message
    script.write_text("no program\n")
    report = await host.run([str(script)])
    assert report.error is not None
    assert report.error.code is Code.INVALID_ARGUMENT


async def test_a_directory_that_cannot_be_used_is_an_end_too(host: Supervised) -> None:
    (host.data_dir / "file").write_text("")
    key = host.key()
    request = host.request(["true"], key)
    report = await host.client.spawn(type(request)(key=key, directory=host.data_dir / "file" / "x", argv=("true",)))
    assert report.error is not None
    assert (report.phase, report.may_have_started, report.error.code) == (Phase.ENDED, False, Code.NOT_FOUND)


@pytest.mark.parametrize("more", [{"stop": StopPolicy("NOSUCH", 1)}, {"timeout": -1.0}, {"directory": "relative"}])
async def test_an_order_that_makes_no_sense_is_refused(host: Supervised, more: dict[str, object]) -> None:
    fields: dict[str, object] = {"key": host.key(), "directory": host.data_dir / "x", "argv": ("true",), **more}
    request = type(host.request(["true"]))(**fields)  # type: ignore[arg-type]
    with pytest.raises(GameNodeError) as refused:
        await host.client.spawn(request)
    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.skipif(not ROOT, reason="needs root")
async def test_a_step_can_run_as_another_user(host: Supervised) -> None:
    host.data_dir.chmod(0o755)
    for parent in host.data_dir.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    report = await host.run("id -un; id -gn; id -G; echo $HOME $USER", user="nobody", cwd="/")
    assert report.exit_code == 0, report
    name, group, groups, who = host.log(report.key).decode().splitlines()
    assert (name, group, who) == ("nobody", "nogroup", "/nonexistent nobody")
    assert "0" not in groups.split()
    report = await host.run("id -u; id -g", user="12345:54321", cwd="/")
    assert host.log(report.key) == b"12345\n54321\n"
    report = await host.run("true", user="nobody", cwd="/root")
    assert report.error is not None
    assert report.error.code is Code.PERMISSION_DENIED


async def test_output_is_reported_as_it_grows(host: Supervised) -> None:
    report = await host.start("for i in 1 2 3 4; do echo $i; sleep 0.1; done")
    await host.end_of(report.key)
    sizes = host.sizes[report.key]
    assert sizes == sorted(sizes)
    assert 3 <= len(sizes) <= 5


async def test_many_writes_make_few_reports(host: Supervised) -> None:
    report = await host.run("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; sleep 0.05")
    assert report.log is not None
    assert report.log.lines == 3000
    assert len(host.sizes[report.key]) < 20


async def test_an_order_after_the_end_is_no_stop(host: Supervised) -> None:
    report = await host.run("true")
    assert await host.client.stop(report.key) is False
    assert await host.client.stop(AttemptKey("never", 1, "x", 1)) is False
    assert not alive(report.pid)

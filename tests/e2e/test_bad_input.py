"""Bad input, given to real programs: a clear line a problem on stderr, the contract's exit code, nothing changed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gamenode_proto.tokens import JoinToken
from gamenode_proto.v1 import work_pb2
from support.cluster import Agent, Cluster, run_to_end, running_cluster
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONSOLE, SERVER, AGENT = "gamenode_console", "gamenode_server", "gamenode_agent"
#: Words that only a programmer should read.
INTERNAL = ("Traceback", "a bug", "internal error", "Error:", "Exception", "grpc", "StatusCode", "sqlite3")

WAITING = """
pipeline: waiting
steps:
  - {id: wait, run: sleep 60, stop: {grace: 1s}}
"""
TYPED = """
pipeline: typed
params:
  port: {type: integer, min: 10, max: 20}
  mode: {type: choice, values: [ffa, ctf], default: ffa}
  loud: {type: boolean, default: true}
steps:
  - {id: say, run: 'echo ${{ params.port }}'}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines on stderr."""
        return self.err.splitlines()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("bad"), agents=["eu-1", "eu-2"]) as cluster:
        yield cluster


async def call(
    program: str, env: Mapping[str, str], *words: str, stdin: str = "", more: Mapping[str, str] | None = None
) -> Said:
    argv = [sys.executable, "-m", program, *words]
    out, err, code = await run_to_end(argv, env={**env, **(more or {})}, code=None, stdin=stdin, seconds=40)
    said = Said(code, out, err)
    for word in INTERNAL:
        assert word not in err.replace("`gamenode-agent", ""), (words, err)
    return said


async def gamenode(cluster: Cluster, *words: str, **options: object) -> Said:
    return await call(CONSOLE, cluster.env, "--data-dir", str(cluster.data_dir), *words, **options)  # type: ignore[arg-type]


async def check(
    cluster: Cluster, cases: Sequence[tuple[Sequence[str], int, Sequence[str]]], *, stdin: str = "", lines: int = 2
) -> None:
    """Runs command lines, two at a time; each must end with its code and say its words, in few lines."""
    room = asyncio.Semaphore(2)

    async def one(words: Sequence[str], code: int, wanted: Sequence[str]) -> None:
        async with room:
            said = await gamenode(cluster, *words, stdin=stdin)
        assert (said.code, said.out) == (code, ""), (words, said)
        assert all(word in said.err for word in wanted), (words, said.err)
        assert 1 <= len(said.lines) <= lines, said.err
        assert "\x1b" not in said.err

    # Every case runs to its end, so that none leaves a process behind.
    for outcome in await asyncio.gather(*(one(*case) for case in cases), return_exceptions=True):
        if outcome is not None:
            raise outcome


# -- what the client is told -------------------------------------------------------------------------------------------

BAD_FILES = {
    "empty": ("", ["1:1: the file holds no pipeline"]),
    "unknown": (
        "pipeline: a\nstepz: [{id: x, run: 'true'}]\n",
        ["1:1: `steps` is missing", "2:1: unknown key 'stepz'; did you mean 'steps'?"],
    ),
    "many": (
        "pipeline: A b\nsteps:\n  - {id: x, run: 'true', if: '${{ parms.x }}'}\n  - {id: x, run: 'true', needs: [z]}\n",
        ["1:11: ", "3:31: there is no 'parms'", "4:"],
    ),
    "alias": ("pipeline: &a a\ndescription: *a\nsteps: [{id: x, run: 'true'}]\n", ["1:11: ", "2:14: "]),
    "tab": ("pipeline: a\nsteps:\n\t- id: x\n", ["3:1: ", "spaces, not with tabs"]),
    "escape": ('pipeline: a\ndescription: "\x1b[31mred"\nsteps: [{id: x, run: "true"}]\n', ["2:15: ", "U+001B"]),
}


async def test_a_bad_pipeline_file_is_refused_with_its_places_in_every_way_in(cluster: Cluster, tmp_path: Path) -> None:
    files: dict[str, str] = {}
    wanted: list[str] = []
    for name, (text, places) in BAD_FILES.items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        files[name] = str(file)
        wanted += [f"{file}:{place}" if place[0].isdecimal() else place for place in places]
    everything = [(["pipeline", word, *files.values()], 2, wanted) for word in ("lint", "apply")]
    await check(cluster, everything, lines=15)
    text, places = BAD_FILES["many"]
    here = [f"{files['many']}:{place}" for place in places]
    stdin = [f"<stdin>:{place}" for place in places]
    await check(cluster, [(["pipeline", "run", "--all", files["many"]], 2, here)], lines=5)
    words = (["lint"], ["apply"], ["run", "--all"])
    await check(cluster, [(["pipeline", *w, "-"], 2, stdin) for w in words], lines=5, stdin=text)


async def test_what_is_stored_is_untouched_when_one_of_several_files_is_bad(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(TYPED.replace("typed", "untouched"))
    (tmp_path / "bad.yaml").write_text("pipeline: b\n")
    await check(
        cluster,
        [(["pipeline", "apply", str(tmp_path / "good.yaml"), str(tmp_path / "bad.yaml")], 2, ["bad.yaml:1:1: "])],
    )
    await check(cluster, [(["pipeline", "show", "untouched"], 3, ["no pipeline 'untouched'"])])


async def test_wrong_words_get_the_right_ones(cluster: Cluster) -> None:
    await check(
        cluster,
        [
            (["nod"], 2, ["Did you mean 'node'?"]),
            (["node", "lss"], 2, ["Did you mean 'ls'?"]),
            (["node", "ls", "--colums", "x"], 2, ["Did you mean '--columns'?"]),
            (["node", "ls", "-o", "yaml"], 2, ["'yaml'", "jsonl"]),
            (["node", "ls", "--sort-by", "nope"], 2, ["'nope'", "memory"]),
            (["node", "ls", "--filter", "cpu>>"], 2, ["cpu>>"]),
            (["node", "ls", "-l", "a in ("], 2, ["a in (", "character 7"]),
            (["pipeline", "run", "hello", "-l", "role=("], 2, ["role=(", "character 6"]),
            (["pipeline", "run", "hello", "--all", "--wait", "--timeout", "abc"], 2, ["'abc'", "1h30m"]),
            (["pipeline", "run", "hello", "--all", "--timeout", "5s"], 2, ["--wait"]),
            (["run", "ls", "--state", "gone"], 2, ["'gone'", "needs_attention"]),
            (["events", "--since", "yesterday"], 2, ["'yesterday'"]),
            (["node", "label", "eu-1", "bad key=1"], 2, ["'bad key'"]),
            (["node", "token", "--ttl", "99999h"], 2, ["30 days", "99999h"]),
            (["pipeline", "lint", "/no/such.yaml"], 2, ["/no/such.yaml", "No such file"]),
        ],
    )


async def test_names_that_mean_nothing_too_much_or_something_else(cluster: Cluster) -> None:
    await check(
        cluster,
        [
            (["node", "show", "eu-3"], 3, ["'eu-3'", "did you mean"]),
            (["pipeline", "run", "hallo", "--all"], 3, ["'hallo'", "did you mean 'hello'?"]),
            (["pipeline", "run", "hello", "--node", "eu-1", "--node", "eu-9", "--node", "zz"], 3, ["'eu-9'", "'zz'"]),
            (["pipeline", "run", "hello", "-l", "role=none"], 3, ["eu-1", "role=none"]),
            (["pipeline", "run", "hello", "--all", "--version", "99"], 3, ["no version 99"]),
            (["pipeline", "run", "hello"], 2, ["2 nodes", "--all"]),
            (["run", "show", "nope"], 3, ["'nope'"]),
            (["run", "wait", "nope"], 3, ["'nope'"]),
            (["run", "logs", "nope"], 3, ["'nope'"]),
            (["node", "show", ""], 2, ["empty"]),
            (["node", "rm", "eu-1", "--yes"], 6, ["eu-1 is online"]),
            (["node", "rm", "eu-1"], 2, ["--yes"]),
        ],
    )


async def test_every_bad_parameter_is_said_at_once(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "typed.yaml").write_text(TYPED)
    run = ["pipeline", "run", str(tmp_path / "typed.yaml"), "--all"]
    everything = ["-p", "port=99", "-p", "mode=dm", "-p", "loud=maybe", "-p", "prt=1"]
    (tmp_path / "params.yaml").write_text("port: [1, 2]\n")
    await check(
        cluster,
        [
            ([*run, *everything], 2, ["did you mean 'port'?", "99 is more than 20", "'dm'", "'maybe'"]),
            (run, 2, ["'port'", "-p port="]),
            ([*run, "-p", "port"], 2, ["'port' is not KEY=VALUE"]),
            ([*run, "-p", "port=12", "-p", "port=13"], 2, ["'port' is given twice"]),
            ([*run, "--params-file", str(tmp_path / "params.yaml")], 2, ["params.yaml", "'port'"]),
        ],
        lines=4,
    )
    assert "typed" not in await cluster.cli("run", "ls", "-o", "json"), "nothing was started"


async def test_an_ambiguous_name_is_refused_with_its_candidates(cluster: Cluster) -> None:
    """Ids are random: a run is copied in the database, to one whose id begins like its own."""
    run_id = (await cluster.cli("pipeline", "run", "hello", "--all", "--wait", "-o", "name")).strip()
    twin = run_id[:-1] + ("a" if run_id[-1] != "a" else "b")
    await cluster.server.kill(signal.SIGTERM)
    path = next((cluster.data_dir / "server").glob("*.db"))
    with sqlite3.connect(path) as database:
        (record,) = database.execute("SELECT record FROM runs WHERE id = ?", (run_id,)).fetchone()
        message = work_pb2.Run.FromString(record)
        message.id = twin
        columns = "pipeline, state, created_at, finished_at"
        database.execute(
            f"INSERT INTO runs (id, record, {columns}) SELECT ?, ?, {columns} FROM runs WHERE id = ?",
            (twin, message.SerializeToString(), run_id),
        )
    database.close()
    await cluster.start_server()
    for words in (["run", "show"], ["run", "cancel"], ["run", "logs"], ["run", "wait"]):
        said = await gamenode(cluster, *words, run_id[:6])
        assert (said.code, said.out) == (2, ""), said
        assert run_id in said.err
        assert twin in said.err
    assert json.loads(await cluster.cli("run", "show", run_id, "-o", "json"))["id"] == run_id


# -- settings ----------------------------------------------------------------------------------------------------------


async def test_settings_that_are_wrong_name_their_place(cluster: Cluster, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    free = ("--data-dir", str(tmp_path / "s"), "--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0")
    for text, code, wanted in [
        ("server:\n  lsten: x\n", 2, ["server.lsten", "did you mean 'listen'?"]),
        ("sever: {}\n", 2, ["'sever'", "did you mean 'server'?"]),
        ("server:\n  heartbeat: soon\n", 2, ["server.heartbeat", "'soon'"]),
        ("server: [\n", 2, ["config.yaml:2:1"]),
        ("- 1\n", 2, ["sections"]),
        ("server:\n  suspect: 1s\n  heartbeat: 5s\n", 2, ["heartbeat (5 s)", "suspect (1 s)"]),
    ]:
        config.write_text(text)
        env = {key: value for key, value in cluster.env.items() if not key.startswith("GAMENODE_")}
        said = await call(SERVER, env, *free, "--config", str(config))
        assert (said.code, len(said.lines)) == (code, 1), said
        assert all(word in said.err for word in wanted), said.err
    for program, words, variable, value in [
        (SERVER, free, "GAMENODE_HEARTBEAT", "soon"),
        (SERVER, free, "GAMENODE_UNIX_ROLES", "root=god"),
        (AGENT, ("run", "--data-dir", str(tmp_path)), "GAMENODE_SLOTS", "none"),
        (AGENT, ("run", "--data-dir", str(tmp_path)), "GAMENODE_DISK_RESERVE", "-5"),
        (CONSOLE, ("node", "ls"), "GAMENODE_OUTPUT", "xml"),
    ]:
        said = await call(program, cluster.env, *words, more={variable: value})
        assert (said.code, len(said.lines)) == (2, 1), said
        assert f"{variable}: " in said.err
        assert value in said.err


async def test_no_server_is_exit_4_with_what_to_do(cluster: Cluster, tmp_path: Path) -> None:
    for data_dir in (tmp_path, tmp_path / "not-there"):
        said = await call(CONSOLE, cluster.env, "--data-dir", str(data_dir), "node", "ls")
        assert said.code == 4
        assert f"gamenode --data-dir {data_dir} up" in said.err
    (tmp_path / "server.json").write_text(json.dumps({"pid": 2**22 - 1, "control_socket": str(tmp_path / "no.sock")}))
    said = await call(CONSOLE, cluster.env, "--data-dir", str(tmp_path), "node", "ls")
    assert said.code == 4
    assert "no longer running" in said.err


# -- data dirs ---------------------------------------------------------------------------------------------------------


async def test_a_data_dir_has_one_server_and_one_agent_and_the_second_names_the_firsts_pid(cluster: Cluster) -> None:
    """Promise 22."""
    said = await call(SERVER, cluster.env, "--data-dir", str(cluster.data_dir))
    assert (said.code, len(said.lines)) == (6, 1)
    assert f"pid {cluster.server.pid}" in said.err
    agent = cluster.agents[0]
    said = await call(AGENT, cluster.env, "run", "--data-dir", str(agent.data_dir))
    assert (said.code, len(said.lines)) == (6, 1)
    assert f"pid {agent.pid}" in said.err
    assert len(json.loads(await cluster.cli("node", "ls", "-o", "json"))) == 2, "the first goes on"


async def test_a_busy_port_is_named(cluster: Cluster, tmp_path: Path) -> None:
    taken = cluster.server_file["listen"]
    said = await call(SERVER, cluster.env, "--data-dir", str(tmp_path), "--listen", taken)
    assert (said.code, len(said.lines)) == (6, 1)
    assert taken in said.err
    assert "--listen" in said.err


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A short folder that other users may enter."""
    folder = Path(tempfile.mkdtemp(prefix="gnbad", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def test_data_dirs_that_cannot_be_used(cluster: Cluster, tmp_path: Path, open_dir: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    said = await call(SERVER, cluster.env, "--data-dir", str(file))
    assert (said.code, len(said.lines)) == (5, 1), said
    assert str(file) in said.err
    said = await call(AGENT, cluster.env, "doctor", "--data-dir", str(file))
    assert said.code != 0
    if os.getuid() != 0:
        pytest.skip("other users can be tried by root only")
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    for program, words, code in [
        (SERVER, ("--data-dir", str(closed / "s")), 5),
        (SERVER, ("--data-dir", str(open_dir / "s")), 5),
        (AGENT, ("join", "--data-dir", str(closed / "a"), await _token(cluster)), 5),
        (AGENT, ("join", "--data-dir", str(open_dir / "a"), await _token(cluster)), 5),
        (AGENT, ("run", "--data-dir", str(closed)), 5),
        (CONSOLE, ("--data-dir", str(closed), "node", "ls"), 5),
    ]:
        said = await _as_nobody(cluster, program, *words, env={"HOME": "/nonexistent"})
        assert said.code == code, (words, said)
        assert len(said.lines) <= 2, said.err
        assert str(open_dir) in said.err, said.err


async def _as_nobody(cluster: Cluster, program: str, *words: str, env: Mapping[str, str]) -> Said:
    argv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable, "-m", program, *words]
    out, err, code = await run_to_end(argv, env={**cluster.env, **env}, code=None, seconds=40)
    for word in INTERNAL:
        assert word not in err, (words, err)
    return Said(code, out, err)


async def _token(cluster: Cluster, *words: str) -> str:
    return str(json.loads(await cluster.cli("node", "token", *words, "-o", "json"))["token"])


async def test_a_newer_schema_and_foreign_files_are_refused_and_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    free = ("--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0")
    async with running_cluster(tmp_path / "own") as own:
        agent = await own.join("a")
    path = next((own.data_dir / "server").glob("*.db"))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = 'r9999'")
    database.close()
    said = await call(SERVER, cluster.env, "--data-dir", str(own.data_dir), *free)
    assert (said.code, len(said.lines)) == (6, 1), said
    assert "newer" in said.err

    journal = agent.data_dir / "agent" / "journal.db"
    with sqlite3.connect(journal) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    said = await call(AGENT, cluster.env, "run", "--data-dir", str(agent.data_dir))
    assert said.code == 6
    assert "newer agent" in said.lines[-1]
    journal.write_bytes(b"not a database" * 1000)
    said = await call(AGENT, cluster.env, "run", "--data-dir", str(agent.data_dir))
    assert said.code == 1
    assert str(journal) in said.lines[-1]
    assert journal.read_bytes().startswith(b"not a database"), "left as it was"


# -- joining -----------------------------------------------------------------------------------------------------------


async def test_every_bad_token_has_its_own_words(cluster: Cluster, tmp_path: Path) -> None:
    before = json.loads(await cluster.cli("node", "ls", "-o", "json"))
    token, other = await _token(cluster), await _token(cluster, "--ttl", "1s")
    expired = asyncio.get_running_loop().time() + 1.2

    async def join(text: str, *words: str, stdin: str = "") -> Said:
        folder = str(tmp_path / "host")
        said = await call(AGENT, cluster.env, "join", text, "--data-dir", folder, *words, stdin=stdin)
        assert not (tmp_path / "host" / "agent" / "identity.pem").exists() or said.code == 0
        if text not in ("", "-"):
            assert text not in said.err, "a token is a secret"
        return said

    for text, words, code, wanted in [
        ("garbage", (), 2, "not a join token"),
        (token[:-3], (), 2, "cut short"),
        (token[:20] + ("A" if token[20] != "A" else "B") + token[21:], (), 2, "was changed"),
        (token.replace("gn1", "gn9"), (), 2, "another version"),
        ("", (), 2, "empty"),
        ("-", (), 2, "empty"),
        (token, ("--name", "Bad Name"), 2, "'Bad Name'"),
        (token, ("--name", "eu-1"), 6, "eu-1 exists"),
        (token, ("--label", "x"), 2, "KEY=VALUE"),
    ]:
        said = await join(text, *words)
        assert (said.code, len(said.lines)) == (code, 1), said
        assert wanted in said.err
    async with running_cluster(tmp_path / "foreign") as foreign:
        await foreign.server.kill()
        # The other cluster's server, where this token's server should be.
        moved = await _token_for(cluster, foreign)
        await foreign.start_server()
        said = await join(moved)
        assert (said.code, len(said.lines)) == (5, 1), said
        assert "pinned" in said.err
    await asyncio.sleep(max(0.0, expired - asyncio.get_running_loop().time()))
    said = await join(other)
    assert said.code == 5
    assert "expired" in said.err
    assert json.loads(await cluster.cli("node", "ls", "-o", "json"))[0]["id"] in {node["id"] for node in before}
    assert len(json.loads(await cluster.cli("node", "ls", "-o", "json"))) == len(before), "no node was created"
    assert (await join(token, "--name", "eu-3")).code == 0
    shutil.rmtree(tmp_path / "host")
    said = await join(token, "--name", "eu-4")
    assert said.code == 5
    assert "used up" in said.err
    await cluster.cli("node", "revoke", "eu-3", "--yes")
    await cluster.cli("node", "rm", "eu-3", "--yes")
    refused = [row for row in json.loads(await cluster.cli("audit", "ls", "-o", "json")) if row["method"] == "Join"]
    assert {"unauthenticated", "already_exists", "ok"} <= {row["outcome"] for row in refused}, refused


async def _token_for(cluster: Cluster, foreign: Cluster) -> str:
    """A token of one cluster with the addresses of another."""
    own = JoinToken.decode(await _token(cluster))
    port = foreign.server.argv[-1]
    return replace(own, addresses=(port,)).encode()


async def test_a_node_that_is_revoked_is_out_within_a_second_and_says_why(cluster: Cluster) -> None:
    agent = await cluster.start_agent("revoked")
    loop = asyncio.get_running_loop()
    revoking = loop.create_task(cluster.cli("node", "revoke", "revoked", "--yes", "--reason", "stolen"))

    async def connected() -> bool:
        out, _, _ = await run_to_end(
            [sys.executable, "-m", AGENT, "status", "-o", "json", "--data-dir", str(agent.data_dir)], env=cluster.env
        )
        return bool(json.loads(out)["connected"])

    await revoking
    at = loop.time()
    await until(lambda: "not connected" in agent.log.read_text(), seconds=5, every=0.02, what="the agent to be told")
    assert loop.time() - at < 1.0
    assert "revoked" in agent.log.read_text().partition("not connected")[2]
    assert not await connected()
    out, _, code = await run_to_end(
        [sys.executable, "-m", AGENT, "status", "--data-dir", str(agent.data_dir)], env=cluster.env, code=None
    )
    assert code == 0
    assert "revoked" in out
    await cluster.cli("pipeline", "run", "hello", "--node", "revoked", code=6)
    await agent.kill(signal.SIGTERM)
    cluster.agents.remove(agent)
    await cluster.cli("node", "rm", "revoked", "--yes")


async def test_a_damaged_or_foreign_identity_says_what_to_do(cluster: Cluster, tmp_path: Path) -> None:
    joined = await cluster.join("damaged")
    cluster.agents.remove(joined)
    path = joined.data_dir / "agent" / "identity.pem"
    whole = path.read_text()
    for text in ("", "{}\n", whole[:700], whole.replace("PRIVATE KEY", "PUBLIC KEY"), "\0\xff", _foreign_key(whole)):
        path.write_text(text)
        said = await call(AGENT, cluster.env, "run", "--data-dir", str(joined.data_dir))
        assert (said.code, len(said.lines)) == (1, 1), said
        assert str(path) in said.err
        assert "join again" in said.err
    path.unlink()
    said = await call(AGENT, cluster.env, "run", "--data-dir", str(joined.data_dir))
    assert said.code == 3
    assert "gamenode-agent join" in said.err
    async with running_cluster(tmp_path / "foreign") as foreign:
        stranger = await foreign.join("stranger", advertise=str(cluster.server_file["listen"]))
        await stranger.start(wait=False)
        # Another cluster's node: the door stays shut, from its side too, and it does not give up in silence.
        await until(lambda: "not connected" in stranger.log.read_text(), what="the agent to say so")
        assert "Traceback" not in stranger.log.read_text()
        await stranger.kill(signal.SIGTERM)
    await cluster.cli("node", "rm", "damaged", "--yes")


def _foreign_key(text: str) -> str:
    """An identity whose key is not that of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    head, _, rest = text.partition("-----BEGIN PRIVATE KEY-----")
    return head + key.decode() + rest.partition("-----END PRIVATE KEY-----\n")[2]


# -- roles -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.getuid() != 0, reason="another user can be tried by root only")
async def test_a_viewer_is_refused_what_changes_and_a_stranger_everything(open_dir: Path) -> None:
    async with running_cluster(open_dir, env={"GAMENODE_UNIX_ROLES": "nobody=viewer"}) as viewed:
        viewed.data_dir.chmod(0o755)
        words = ("--data-dir", str(viewed.data_dir))
        said = await _as_nobody(viewed, CONSOLE, *words, "node", "ls", "-o", "json", env={})
        assert (said.code, said.out) == (0, "[]\n"), said
        for denied in (["node", "token"], ["pipeline", "run", "hello", "--all"], ["run", "cancel", "abcd"]):
            said = await _as_nobody(viewed, CONSOLE, *words, *denied, env={})
            assert (said.code, said.out) == (5, ""), said
            assert "viewer" in said.err
            assert "whoami" in said.err
        said = await _as_nobody(viewed, CONSOLE, *words, "whoami", "-o", "json", env={})
        assert json.loads(said.out)["role"] == "viewer"
        rows = json.loads(await viewed.cli("audit", "ls", "-o", "json"))
        refused = [row for row in rows if row["outcome"] == "permission_denied"]
        assert len(refused) == 3

        await viewed.server.kill(signal.SIGTERM)
        await viewed.start_server(env={"GAMENODE_UNIX_ROLES": "daemon=viewer"})
        said = await _as_nobody(viewed, CONSOLE, *words, "node", "ls", env={})
        assert said.code == 5, said
        assert len(said.lines) <= 2


# -- exit codes of waiting ---------------------------------------------------------------------------------------------


async def test_exit_codes_of_waiting(cluster: Cluster, tmp_path: Path) -> None:
    waiting, failing = tmp_path / "waiting.yaml", tmp_path / "failing.yaml"
    waiting.write_text(WAITING)
    failing.write_text("pipeline: failing\nsteps: [{id: x, run: exit 3}]\n")
    said = await gamenode(cluster, "pipeline", "run", str(failing), "--node", "eu-1", "--wait")
    assert said.code == 1
    assert "failing): failed" in said.err

    said = await gamenode(cluster, "pipeline", "run", str(waiting), "--node", "eu-1", "--wait", "--timeout", "500ms")
    assert said.code == 7
    run_id = said.lines[0].split()[1]
    assert "goes on" in said.err
    assert f"gamenode run cancel {run_id}" in said.err
    assert json.loads(await cluster.cli("run", "show", run_id, "-o", "json"))["state"] == "running"
    waiter = asyncio.get_running_loop().create_task(gamenode(cluster, "run", "wait", run_id))
    said = await gamenode(cluster, "run", "cancel", run_id, "--reason", "enough")
    assert said.code == 0
    said = await waiter
    assert (said.code, said.out) == (9, "")
    await cluster.cli("run", "wait", run_id, code=9)

    run_id = (await cluster.cli("pipeline", "run", str(waiting), "--node", "eu-2", "-o", "name")).strip()
    agent = next(agent for agent in cluster.agents if agent.name == "eu-2")
    await until(lambda: _steps_of(agent), what="the step to run")
    await agent.kill()
    await agent.start(env={"GAMENODE_BOOT_ID": "another"})
    said = await gamenode(cluster, "run", "wait", run_id, "--timeout", "20s")
    assert (said.code, said.out) == (8, ""), said
    await cluster.cli("run", "resolve", run_id, "--node", "eu-2", "--as", "failed", "--reason", "seen")
    await cluster.cli("run", "wait", run_id, code=1)


def _steps_of(agent: Agent) -> list[int]:
    pid = agent.supervisor_pid
    return [] if pid is None else [child.pid for child in psutil.Process(pid).children(recursive=True)]


@pytest.mark.parametrize("words", [["--wait"], ["--follow"], ["watch"]])
async def test_ctrl_c_leaves_the_run_alone_and_says_how_to_end_it(
    cluster: Cluster, tmp_path: Path, words: list[str]
) -> None:
    file = tmp_path / "waiting.yaml"
    file.write_text(WAITING.replace("run: sleep 60", "run: echo begun; sleep 60"))
    start = ["pipeline", "run", str(file), "--node", "eu-1"]
    run_id = ""
    if words == ["watch"]:
        run_id = (await cluster.cli(*start, "-o", "name")).strip()
        start, words = ["run", "watch", run_id], []
    argv = [sys.executable, "-m", CONSOLE, "--data-dir", str(cluster.data_dir), *start, *words]
    pipe = asyncio.subprocess.PIPE
    client = await asyncio.create_subprocess_exec(*argv, env=dict(cluster.env), stdout=pipe, stderr=pipe)
    assert client.stderr is not None
    assert client.stdout is not None
    if words == ["--wait"]:
        run_id = (await asyncio.wait_for(client.stderr.readline(), 20)).decode().split()[1]
    else:
        assert await asyncio.wait_for(client.stdout.readline(), 20) == b"begun\n"
    client.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(client.communicate(), 10)
    assert client.returncode == 130, err
    assert b"Traceback" not in err
    assert b"goes on" in err
    if not run_id:
        run_id = err.decode().partition("gamenode run cancel ")[2].split("`")[0]
    assert f"gamenode run cancel {run_id}" in err.decode()
    assert json.loads(await cluster.cli("run", "show", run_id, "-o", "json"))["state"] == "running"
    await cluster.cli("run", "cancel", run_id, "--force")
    await cluster.cli("run", "wait", run_id, code=9)

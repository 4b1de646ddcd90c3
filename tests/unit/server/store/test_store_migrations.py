"""Schemas: a fresh one is what the migrations make; a migration happens whole or not at all; newer ones are refused."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import failpoints
from gamenode_server.records import User
from gamenode_server.store import schema
from gamenode_server.store.engine import sqlite_writer
from gamenode_server.store.migrate import SCRIPTS, prepare_schema
from gamenode_server.store.statements import Statements
from support.stores import a_run, a_task, opened

#: A revision as it may come: rebuilds a table that others refer to, and fills a new column.
NEXT = f"""
from __future__ import annotations
import sqlalchemy as sa
from alembic import op
revision = "9999"
down_revision = "{schema.REVISION}"

def upgrade() -> None:
    with op.batch_alter_table("runs", recreate="always") as batch:
        batch.add_column(sa.Column("owner", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE runs SET owner = 'ops'")
    op.create_table("servers", sa.Column("id", sa.Text(), primary_key=True))
"""

MIGRATE = """
import sys
from pathlib import Path
from gamenode_server.store.engine import sqlite_writer
from gamenode_server.store.migrate import prepare_schema
engine = sqlite_writer(sys.argv[1])
prepare_schema(engine.connect(), sys.argv[1], revision="9999", scripts=Path(sys.argv[2]))
print("migrated")
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The migrations with one more."""
    folder = tmp_path / "migrations"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "r9999_next.py").write_text(NEXT)
    return folder


@pytest.fixture
async def filled(tmp_path: Path) -> Path:
    """A database of the present schema with a run in it."""
    path = tmp_path / "store.db"
    async with opened(path) as there:
        await there.store.apply(lambda tx: (tx.put_run(a_run("r1")), tx.put_task(a_task("t1", "r1"))))
    return path


def _schema(path: Path) -> dict[str, tuple[str, list[tuple[object, ...]]]]:
    connection = sqlite3.connect(path)
    made = {
        name: (" ".join(sql.split()).replace('"', ""), connection.execute(f"PRAGMA table_xinfo({name})").fetchall())
        for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    }
    connection.close()
    return made


def _version(path: Path) -> str:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    return str(version)


def _migrate(path: Path, scripts: Path, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", MIGRATE, str(path), str(scripts)]
    return subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **env}, timeout=60, check=False)


def _migrate_in_child(path: Path, scripts: Path, armed: str) -> int:
    """The same in a forked child, which has everything imported; answers with what it ended with."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        failpoints._armed = failpoints._parse(armed)
        prepare_schema(sqlite_writer(path).connect(), path, revision="9999", scripts=scripts)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_fresh_schema_is_what_the_migrations_make(tmp_path: Path) -> None:
    fresh, migrated = tmp_path / "fresh.db", tmp_path / "migrated.db"
    for path, folder in ((fresh, SCRIPTS), (migrated, tmp_path / "copy")):
        if folder != SCRIPTS:
            shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        engine = sqlite_writer(path)
        with engine.connect() as connection:
            prepare_schema(connection, path, scripts=folder)
        engine.dispose()
    assert _schema(fresh) == _schema(migrated)
    assert _version(fresh) == _version(migrated) == schema.REVISION


def test_the_newest_revision_is_the_one_the_program_is_at() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


async def test_opening_does_not_import_alembic(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom support.stores import opened\n"
        f"async def main():\n    async with opened({str(tmp_path / 's.db')!r}): pass\n"
        "asyncio.run(main())\nassert 'alembic' not in sys.modules"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    for _ in range(2):  # a new one, and one that is there
        subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=60)


def test_a_migration_keeps_every_row_also_of_tables_that_refer_to_it(filled: Path, scripts: Path) -> None:
    done = _migrate(filled, scripts)
    assert done.stdout == "migrated\n", done.stderr
    connection = sqlite3.connect(filled)
    assert connection.execute("SELECT id, owner FROM runs").fetchall() == [("r1", "ops")]
    assert connection.execute("SELECT id, run_id FROM tasks").fetchall() == [("t1", "r1")]
    assert connection.execute("SELECT count(*) FROM servers").fetchone() == (0,)
    connection.close()
    assert _version(filled) == "9999"


async def test_a_database_from_before_there_were_users_gets_them(tmp_path: Path) -> None:
    path, old = tmp_path / "store.db", tmp_path / "migrations"
    shutil.copytree(SCRIPTS, old, ignore=shutil.ignore_patterns("__pycache__"))
    engine = sqlite_writer(path)
    with engine.connect() as connection:
        prepare_schema(connection, path, revision="0001", scripts=old)
    engine.dispose()
    user = User("alice", "viewer", created_at=1.0, created_by="root")
    async with opened(path) as there:
        await there.store.apply(lambda tx: tx.put_user(user))
        assert there.store.view.users == {"alice": user}
    async with opened(path) as there:
        assert there.store.view.users == {"alice": user}


def test_killed_at_every_statement_of_a_migration(filled: Path, scripts: Path, tmp_path: Path) -> None:
    old = _schema(filled)
    for statement in range(1, 60):
        path = tmp_path / f"copy{statement}.db"
        shutil.copy(filled, path)
        if _migrate_in_child(path, scripts, f"store.migration=kill:{statement}") == 0:
            break
        assert (_version(path), _schema(path)) == (schema.REVISION, old)
        assert _migrate_in_child(path, scripts, "") == 0  # and it works the next time
        assert _version(path) == "9999"
    assert 10 < statement < 59, "the failpoint was never reached, or never not"


def test_killed_before_its_commit(filled: Path, scripts: Path) -> None:
    old = _schema(filled)
    done = _migrate(filled, scripts, GAMENODE_FAILPOINTS="store.schema=kill")
    assert done.returncode == -signal.SIGKILL
    assert (_version(filled), _schema(filled)) == (schema.REVISION, old)


async def test_a_newer_schema_is_refused_and_left_alone(filled: Path, scripts: Path) -> None:
    assert _migrate(filled, scripts).returncode == 0
    newer = _schema(filled)
    with pytest.raises(GameNodeError, match="schema 9999") as caught:
        async with opened(filled):
            pass
    assert caught.value.code is Code.VERSION_MISMATCH
    assert _schema(filled) == newer


async def test_killed_while_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    code = f"import asyncio\nfrom support.stores import opened\nasyncio.run(opened({str(path)!r}).__aenter__())"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "GAMENODE_FAILPOINTS": "store.schema=kill"}
    assert subprocess.run([sys.executable, "-c", code], env=env, timeout=60, check=False).returncode == -signal.SIGKILL
    async with opened(path) as there:
        await there.store.apply(lambda tx: tx.put_run(a_run("r1")))


def test_everything_has_a_form_in_postgresql() -> None:
    dialect = postgresql.dialect(paramstyle="format")
    put_run = Statements(dialect).put_run
    assert put_run.startswith("INSERT INTO runs")
    assert "ON CONFLICT (id) DO UPDATE" in put_run
    assert put_run.count("%s") == len(schema.runs.columns)
    for table in schema.metadata.sorted_tables:
        made = str(CreateTable(table).compile(dialect=dialect))
        assert ("BIGINT" in made) == (table.name in {"artifacts", "events", "audit", "notifications"})
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))

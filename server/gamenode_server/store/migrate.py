"""Brings a database to this program's schema: made anew, left as it is, migrated, or refused.

Alembic is imported only where the schema differs. A migration is one transaction, so that a crash leaves the old
schema or the new one; foreign keys are off meanwhile (rebuilding a table would delete its children), and checked before
it ends.
"""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.failpoints import failpoint
from gamenode_server.store import schema

logger = logging.getLogger(__name__)

SCRIPTS = Path(__file__).parent / "migrations"


def prepare_schema(
    connection: sa.Connection, path: Path | str, *, revision: str = schema.REVISION, scripts: Path = SCRIPTS
) -> None:
    """Makes the database's schema the one of `revision`. Raises GameNodeError for a newer one, leaving it alone."""
    if not sa.inspect(connection).has_table(schema.revisions.name):
        _create(connection, revision, scripts)
        return
    present = connection.execute(sa.select(schema.revisions.c.version_num)).scalar()
    connection.rollback()
    if present != revision:
        _migrate(connection, path, str(present), revision, scripts)


def _create(connection: sa.Connection, revision: str, scripts: Path) -> None:
    if scripts != SCRIPTS:
        connection.rollback()
        connection.begin()
        _upgrade(connection, revision, scripts)
    else:
        schema.metadata.create_all(connection)
        schema.revisions.create(connection)
        connection.execute(sa.insert(schema.revisions).values(version_num=revision))
        failpoint("store.schema")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id={schema.APPLICATION_ID}")
    connection.commit()


def _migrate(connection: sa.Connection, path: Path | str, present: str, revision: str, scripts: Path) -> None:
    sqlite = connection.dialect.name == "sqlite"
    driver = connection.connection
    if sqlite:
        driver.cursor().execute("PRAGMA foreign_keys=OFF")  # without effect inside a transaction
    connection.begin()  # else Alembic commits its own
    try:
        known = _upgrade(connection, revision, scripts, present)
        if not known:
            raise GameNodeError(
                Code.VERSION_MISMATCH,
                f"{path} has schema {present}, and this program knows only up to {revision}; use the newer program",
            )
        if sqlite:
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise GameNodeError(Code.DATA_LOSS, f"the migration to {revision} would break {len(broken)} references")
        failpoint("store.schema")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        if sqlite:
            driver.cursor().execute("PRAGMA foreign_keys=ON")


def _upgrade(connection: sa.Connection, revision: str, scripts: Path, present: str = "") -> bool:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    if present:
        script = ScriptDirectory.from_config(config)
        try:
            script.get_revision(present)
        except CommandError:
            return False
        logger.info("migrating the database from schema %s to %s", present, revision)

    def statement(*_: object) -> None:
        failpoint("store.migration")

    sa.event.listen(connection, "before_cursor_execute", statement)
    try:
        command.upgrade(config, revision)
    finally:
        sa.event.remove(connection, "before_cursor_execute", statement)
    return True

"""The writer's statements: built with Core, compiled once for the dialect, sent to the driver with plain tuples.

Binding and results through Core would take a tenth of the writer's time. Owns the columns' order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gamenode_server.store import schema

#: A row or a statement's parameters, in the order of the columns.
Row = tuple[Any, ...]


class Statements:
    """Every statement of the write path, as text for one dialect."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self.put_meta = self._upsert(schema.meta)
        self.put_node = self._upsert(schema.nodes)
        self.remove_node = self._delete(schema.nodes, "id")
        self.put_pipeline = self._text(sa.insert(schema.pipelines))
        self.put_run = self._upsert(schema.runs)
        self.put_task = self._upsert(schema.tasks)
        self.put_bundle = self._upsert(schema.bundles)
        self.put_event = self._text(sa.insert(schema.events))
        self.put_token = self._upsert(schema.tokens)
        self.put_user = self._upsert(schema.users)
        self.put_answer = self._upsert(schema.requests)
        self.put_audit = self._text(sa.insert(schema.audit))

        runs, tasks = schema.runs.c, schema.tasks.c
        self.run = self._select([runs.record], runs.id)
        self.run_of_task = self._select([tasks.run_id], tasks.id)
        self.tasks_of = self._select([tasks.record], tasks.run_id, order=[tasks.position])
        self.bundle = self._select([schema.bundles.c.data, schema.bundles.c.used_at], schema.bundles.c.digest)
        self.token = self._select(list(schema.tokens.c), schema.tokens.c.id)
        pipelines = schema.pipelines.c
        self.pipeline = self._select(list(pipelines), pipelines.name, pipelines.version)
        requests = schema.requests.c
        self.answer = self._select(
            [requests.request_sha256, requests.made, requests.created_at], requests.principal, requests.request_id
        )

    def _upsert(self, table: sa.Table) -> str:
        keys = [column.name for column in table.primary_key]
        values = [column.name for column in table.columns if not column.primary_key]
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[self._dialect.name](table)
        changed = {name: insert.excluded[name] for name in values}
        return self._text(insert.on_conflict_do_update(index_elements=keys, set_=changed))

    def _delete(self, table: sa.Table, key: str) -> str:
        return self._text(sa.delete(table).where(table.c[key] == sa.bindparam("key")))

    def _select(
        self, columns: Sequence[sa.ColumnElement[Any]], *keys: sa.ColumnElement[Any], order: Sequence[Any] = ()
    ) -> str:
        where = [key == sa.bindparam(f"key{number}") for number, key in enumerate(keys)]
        return self._text(sa.select(*columns).where(*where).order_by(*order))

    def _text(self, statement: sa.sql.ClauseElement) -> str:
        return str(statement.compile(dialect=self._dialect))

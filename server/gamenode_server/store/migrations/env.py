"""How Alembic runs here: on the connection it is given, inside the transaction that is open on it."""

from __future__ import annotations

from alembic import context

from gamenode_server.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()

"""Files that travel with pipelines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the column."""
    op.add_column("pipelines", sa.Column("files", sa.LargeBinary(), nullable=False, server_default=sa.text("''")))

"""What is shown, as files that other programs read. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TypeVar

from gamenode_console.model.columns import Column

R = TypeVar("R")


def as_csv(columns: Sequence[Column[R]], rows: Iterable[R], now: float) -> str:
    """Rows as CSV (RFC 4180) with a head line of the columns' keys."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.key for column in columns])
    for row in rows:
        writer.writerow([column.text(row, now).strip() for column in columns])
    return text.getvalue()

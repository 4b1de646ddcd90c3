"""What is shown, as files that other programs read. Pure."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from gamenode_console.model.columns import Column

R = TypeVar("R")

#: What a spreadsheet would take for a formula; figures are none.
_FORMULA = re.compile(r"[=@]|[+-](?!\d+(\.\d+)?%?$|$)")


def as_csv(columns: Sequence[Column[R]], rows: Iterable[R], now: float) -> str:
    """Rows as CSV (RFC 4180) with a head line of the columns' keys; what would be a formula gets a quote before it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.key for column in columns])
    for row in rows:
        writer.writerow([_harmless(column.text(row, now).strip()) for column in columns])
    return text.getvalue()


def as_json(columns: Sequence[Column[R]], rows: Iterable[R], now: float) -> str:
    """Rows as a JSON array of objects, by the columns' keys, one row a line."""
    lines = [
        json.dumps({column.key: column.text(row, now).strip() for column in columns}, ensure_ascii=False)
        for row in rows
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _harmless(text: str) -> str:
    return "'" + text if _FORMULA.match(text) else text

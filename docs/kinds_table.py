"""Writes the tables of step kinds into `reference/pipeline.md`, between their marks, from the tables of the code.

`python docs/kinds_table.py` brings the page up to date; a test fails where it is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gamenode_pipelines.kinds import KINDS, Kind
from gamenode_pipelines.kinds.shapes import Field, Record

PAGE = Path(__file__).parent / "reference" / "pipeline.md"
_BLOCK = re.compile(r"(<!-- kind ([a-z.]+): begin -->\n).*?(<!-- kind: end -->\n)", re.DOTALL)
#: Kinds whose fields are those of another one, but for a few.
_LIKE = {"container.job": "container.run"}


def page(text: str) -> str:
    """The page with its tables as they should be."""
    return _BLOCK.sub(lambda block: block[1] + table(KINDS[block[2]]) + block[3], text)


def table(kind: Kind) -> str:
    """What a kind takes and gives."""
    other = KINDS.get(_LIKE.get(kind.name, ""))
    rows = list(_rows({name: kind.fields[name] for name in kind.fields if not other or _own(kind, other, name)}))
    parts = ["| field | | what it is |\n| --- | --- | --- |", *rows, ""]
    if other is not None:
        without = ", ".join(f"`{name}`" for name in other.fields if name not in kind.fields)
        parts.append(f"The other fields are those of `{other.name}`, without {without}.\n")
    if kind.outputs:
        parts.append(f"Outputs: {', '.join(f'`{name}` ({what})' for name, what in kind.outputs.items())}.\n")
    if kind.idempotent:
        parts.append("Running it twice does no harm: it is `idempotent` without saying so.\n")
    return "\n".join(parts)


def _own(kind: Kind, other: Kind, name: str) -> bool:
    return kind.fields[name] is not other.fields.get(name)


def _rows(fields: Mapping[str, Field], above: str = "") -> Iterator[str]:
    for name, field in fields.items():
        if field.later:
            continue
        what = field.type.word
        if field.required:
            what += ", required"
        elif field.default is not None:
            what += f"; `{field.type.normal(field.default)}`"
        yield f"| `{above}{name}` | {_cell(what)} | {_cell(field.doc)} |"
        if isinstance(field.type, Record):
            yield from _rows(field.type.fields, f"{above}{name}.")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")

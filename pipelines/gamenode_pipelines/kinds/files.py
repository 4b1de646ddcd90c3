"""The kinds that work with files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gamenode_pipelines.artifacts import check_reference
from gamenode_pipelines.kinds.checks import URL
from gamenode_pipelines.kinds.fields import PATH, SCALAR_SCHEMA, SIZE, TEXT, Leaf, matching, without_dots
from gamenode_pipelines.kinds.kind import Kind
from gamenode_pipelines.kinds.shapes import Field, Record
from gamenode_pipelines.kinds.wrong import Item
from gamenode_pipelines.quantities import parse_size
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import text_of

_MODE: Final = re.compile(r"(0o)?0?([0-7]{3})")


def _mode(value: object) -> str:
    """Permissions in octal digits, as text: a number would be read as decimal by some and as octal by others."""
    match = _MODE.fullmatch(text_of(value)) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'must be permissions like "0644", not {shown(str(value))}')
    return f"0{match[2]}"


def _from(value: object) -> str:
    text = without_dots(value)
    return text if "/" in text and not text.startswith("/") else check_reference(text)


def _one_source(values: Mapping[str, Any]) -> Iterable[Item]:
    """From the web with a digest, or from what GameNode has itself."""
    if values.get("url") and values.get("from"):
        yield Item(("from",), "does not go with `url`: a file comes from one place")
    elif values.get("url") and not values.get("sha256"):
        yield Item(
            ("sha256",), "`sha256` is missing: what comes from the web must be the file that is meant", missing=True
        )
    elif not values.get("url") and not values.get("from"):
        yield Item(
            ("url",), "`url` is missing, or `from` with one of the pipeline's `files` or an artifact", missing=True
        )


#: Bytes that a file may have where the step does not say.
_MOST: Final = "2g"

FILES: Final = (
    Kind(
        "file.fetch",
        "Takes a file from the bundle, an artifact or the web: the one that was meant, whole or not at all.",
        Record(
            {
                "from": Field(
                    Leaf("file or artifact", _from, SCALAR_SCHEMA, empty=""),
                    "One of the pipeline's `files`, or an artifact by name or digest.",
                ),
                "url": Field(URL, "Where it is in the web, as the node sees it; this or `from`."),
                "path": Field(PATH, "Where it goes; relative to the task's workspace. Its folder must be there.", True),
                "sha256": Field(
                    matching(r"[0-9a-f]{64}", "is no SHA-256: 64 hexadecimal digits", tidy=str.lower),
                    "Its SHA-256: another file is refused. Needed with `url`.",
                ),
                "mode": Field(
                    Leaf("octal digits", _mode, {"type": ["string", "integer"]}, empty=""),
                    "Its permissions.",
                    default="0644",
                ),
                "max_size": Field(SIZE, "How large it may be.", default=parse_size(_MOST)),
            },
            "file.fetch",
            _one_source,
            meant={
                "dest": "path",
                "file": "path",
                "src": "url",
                "source": "url",
                "artifact": "from",
                "digest": "sha256",
                "checksum": "sha256",
            },
        ),
        idempotent=True,
        outputs={
            "path": "where it is, from / on",
            "bytes": "its size",
            "sha256": "its digest",
        },
    ),
    Kind(
        "file.write",
        "Writes a text file: whole or not at all.",
        Record(
            {
                "path": Field(PATH, "Where; relative to the task's workspace. Its folder must be there.", True),
                "content": Field(TEXT, "What is in it; nothing where it is left out."),
                "mode": Field(
                    Leaf("octal digits", _mode, {"type": ["string", "integer"]}, empty=""),
                    "Its permissions.",
                    default="0644",
                ),
            },
            "file.write",
            meant={"dest": "path", "file": "path", "name": "path", "text": "content", "permissions": "mode"},
        ),
        idempotent=True,
        outputs={
            "path": "where it is, from / on",
            "bytes": "its size",
            "sha256": "its digest",
        },
    ),
)

"""The kind that stores files of a node as artifacts."""

from __future__ import annotations

from typing import Final

from gamenode_pipelines.artifacts import check_name, check_reference
from gamenode_pipelines.kinds.fields import DURATION, PATH, SCALAR_SCHEMA, Leaf, words
from gamenode_pipelines.kinds.kind import Kind
from gamenode_pipelines.kinds.shapes import Field, Record
from gamenode_pipelines.written import text_of


def _name(value: object) -> str:
    return check_name(text_of(value))


def _reference(value: object) -> str:
    return check_reference(text_of(value))


#: An artifact by its name or digest.
REFERENCE: Final = Leaf("artifact", _reference, SCALAR_SCHEMA, empty="")

ARTIFACTS: Final = (
    Kind(
        "artifact.put",
        "Stores a file or a folder of the node under a name.",
        Record(
            {
                "name": Field(
                    Leaf("name", _name, SCALAR_SCHEMA, empty=""),
                    "What it is called; the newest content of a name is what the name means.",
                    True,
                ),
                "path": Field(
                    PATH, "The file, or the folder, which becomes a tar archive; relative to the workspace.", True
                ),
                "to": Field(
                    words(("server", "node"), empty="server"),
                    "Who keeps it; what a node keeps can be used there alone.",
                    default="server",
                ),
                "keep": Field(DURATION, "How long it is kept; as long as the server keeps them where left out."),
            },
            "artifact.put",
            meant={
                "file": "path",
                "folder": "path",
                "src": "path",
                "source": "path",
                "paths": "path",
                "as": "name",
                "expire_in": "keep",
                "retention": "keep",
            },
        ),
        idempotent=True,
        outputs={"name": "its name", "sha256": "its digest", "bytes": "its size, of an archive where it is a folder"},
    ),
)

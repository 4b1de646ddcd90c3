"""The kinds of steps that `uses` names: what their `with` takes, checked and typed.

Stdlib only: the agent, which checks again what it has rendered, does without the validators of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gamenode_pipelines.kinds.kind import Kind

#: Every kind that works, by name.
KINDS: Final[Mapping[str, Kind]] = {}

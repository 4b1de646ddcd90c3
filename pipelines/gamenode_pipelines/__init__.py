"""The pure core: what a pipeline is, and how runs, tasks and steps move.

Knows no clock, no network, no disk and no other GameNode package. `Pipeline` and `Step`, for writing pipelines in
Python, are loaded when they are first asked for: they bring the YAML reader and the validators, which a game host does
without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gamenode_pipelines.authoring import Param as Param
    from gamenode_pipelines.authoring import Pipeline as Pipeline
    from gamenode_pipelines.authoring import Step as Step

__all__ = ["Param", "Pipeline", "Step"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("gamenode_pipelines.authoring"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

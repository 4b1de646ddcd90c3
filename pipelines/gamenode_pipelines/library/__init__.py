"""The pipelines that come with GameNode, as YAML beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType


@cache
def shipped() -> Mapping[str, str]:
    """Each shipped pipeline's name and YAML text."""
    texts = {
        entry.name.removesuffix(".yaml"): entry.read_text("utf-8")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".yaml")
    }
    return MappingProxyType(dict(sorted(texts.items())))

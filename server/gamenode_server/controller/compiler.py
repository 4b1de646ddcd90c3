"""From a pipeline's text and parameters to a plan and its bundle, remembered, and never on the writer's thread.

The second run of the same pipeline with the same parameters costs a look-up.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gamenode_pipelines.compile import compile_plan
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.inlining import Find
from gamenode_pipelines.load import LoadedPipeline, load_pipelines
from gamenode_pipelines.plan import Plan, Scalar
from gamenode_proto.codec.plan import bundle_bytes
from gamenode_server.controller.files import unpacked
from gamenode_server.controller.shelf import versions_named

V = TypeVar("V")

#: A text larger than this is read on a thread of its own: everything else on the loop waits meanwhile.
INLINE_TEXT = 8 * 1024
COMPILED = 256


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan that can be run. `digest` is the hex SHA-256 of `bundle`."""

    loaded: LoadedPipeline
    plan: Plan
    bundle: bytes
    digest: str
    #: The pipelines that were inlined, with their versions.
    named: tuple[tuple[str, int], ...] = ()


class _Recent(Generic[V]):
    """The values used last."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._capacity:
            self._values.popitem(last=False)


class Compiler:
    """Reads and compiles pipelines. Used on the loop only."""

    def __init__(self) -> None:
        self._compiled: _Recent[Compiled] = _Recent(COMPILED)

    async def load(self, text: str, file: str) -> tuple[LoadedPipeline, ...]:
        """The pipelines in a text; raises InvalidPipeline with every problem of it."""
        return await _beside(load_pipelines, text, file, large=len(text) > INLINE_TEXT)

    async def compile(
        self,
        text: str,
        file: str,
        params: Mapping[str, Scalar],
        *,
        version: int,
        find: Find,
        task_timeout: float = 0.0,
        files: bytes = b"",
    ) -> Compiled:
        """The plan of the one pipeline in a text; `task_timeout` replaces the pipeline's own where it is not 0.

        `find` finds the pipelines that it names; `files` (`files.packed`) travel along.

        INVALID_ARGUMENT where the text is no single pipeline or the parameters do not fit, each named.
        """
        if task_timeout < 0:
            raise GameNodeError(Code.INVALID_ARGUMENT, "a timeout cannot be negative")
        given = tuple(sorted((name, type(value).__name__, value) for name, value in params.items()))
        key = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), files, version, task_timeout, given)
        compiled = self._compiled.get(key)
        if compiled is None or compiled.named != versions_named(compiled.loaded.spec, find):
            loaded = await self.load(text, file)
            if len(loaded) != 1:
                raise GameNodeError(
                    Code.INVALID_ARGUMENT, f"{file}: one pipeline can be run at a time, this text has {len(loaded)}"
                )
            compiled = await _beside(
                _compile, loaded[0], params, version, task_timeout, find, files, large=len(text) > INLINE_TEXT
            )
            self._compiled.put(key, compiled)
        return compiled


async def _beside(function: Callable[..., V], *args: object, large: bool) -> V:
    return await asyncio.to_thread(function, *args) if large else function(*args)


def _compile(
    loaded: LoadedPipeline, params: Mapping[str, Scalar], version: int, timeout: float, find: Find, files: bytes
) -> Compiled:
    plan = compile_plan(loaded.spec, params, version=version, find=find)
    if timeout:
        plan = replace(plan, timeout=timeout)
    bundle = bundle_bytes(plan, unpacked(files) if files else ())
    named = versions_named(loaded.spec, find)
    return Compiled(loaded, plan, bundle, hashlib.sha256(bundle).hexdigest(), named)

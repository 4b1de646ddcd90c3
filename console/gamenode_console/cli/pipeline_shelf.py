"""The stored pipelines that a pipeline's steps name, fetched for whoever compiles it on this side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gamenode_console.cli.client import Client

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway
    from gamenode_pipelines.inlining import Find, Found
    from gamenode_pipelines.spec import PipelineSpec


def shelf(client: Client, spec: PipelineSpec) -> Find:
    """Finds what the pipeline names, directly and by others. Asks the server only where it names any."""
    from gamenode_pipelines.errors import Code, GameNodeError
    from gamenode_pipelines.inlining import Found, names_of, nothing_stored
    from gamenode_pipelines.load import load_pipelines

    names = names_of(spec)
    if not names:
        return nothing_stored
    found: dict[str, Found | GameNodeError] = {}

    async def fetch(gateway: Gateway) -> None:
        waiting = [*names]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            try:
                stored = (await gateway.pipelines.get(name)).pipeline
            except GameNodeError as error:
                if error.code is not Code.NOT_FOUND:
                    raise
                found[name] = error
                continue
            other = load_pipelines(stored.text, name)[0].spec
            found[name] = Found(other, stored.version)
            waiting += names_of(other)

    def find(name: str) -> Found:
        there = found[name]
        if isinstance(there, GameNodeError):
            raise there
        return there

    client.run(fetch)
    return find

"""Getting images for steps: by policy, with progress in the log, and a word on how to get one that is missing."""

from __future__ import annotations

from gamenode_agent.containers.outages import through
from gamenode_agent.engines.containers import ContainerEngine, Image
from gamenode_agent.engines.inline import Handle
from gamenode_pipelines.errors import Code, GameNodeError


async def pull(engine: ContainerEngine, reference: str, attempt: Handle) -> Image:
    """Gets an image from its registry.

    One that came from no registry, because it was built or loaded here, is used as it is where none has it.
    """
    try:
        return await through(engine, lambda: engine.pull(reference, attempt.say))
    except GameNodeError as error:
        here = await through(engine, lambda: engine.image(reference))
        if here is None or here.digests:
            raise
        attempt.say(f"no registry gives {reference}: {error.message}")
        attempt.say("the one that is here was made or loaded on this node, and is used")
        return here


async def obtain(engine: ContainerEngine, reference: str, policy: str, attempt: Handle) -> Image:
    """The image by the pull policy `missing`, `always` or `never`."""
    if policy == "always":
        return await pull(engine, reference, attempt)
    here = await through(engine, lambda: engine.image(reference))
    if here is not None:
        return here
    if policy == "never":
        raise GameNodeError(
            Code.IMAGE_MISSING,
            f"the image {reference} is not on this node, and `pull: never` forbids to get it; use container.pull or"
            " container.load before",
            details={"image": reference},
        )
    return await pull(engine, reference, attempt)

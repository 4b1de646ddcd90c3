"""What Docker says went wrong, in our codes, with what to do about it."""

from __future__ import annotations

import re
from typing import Any

from gamenode_agent.engines.containers import HalfStarted, NotAsked
from gamenode_pipelines.errors import Code, GameNodeError

#: Words of an engine that is about to end, or has lost its own engine room.
_ENDING = ("transport is closing", "context canceled", "ttrpc: closed", "containerd.sock", "shutting down")
#: Words of an engine whose own engine room has the container already: an earlier engine died while it was started.
_HALF = ("already exists", "id already in use", "container with id exists")


def refusal(status: int, words: str, *, doing: str, subject: str = "") -> GameNodeError:
    """The error for an answer with an HTTP status from 400. `doing` is our word for the call, `subject` its image or
    container."""
    text = words.strip().rstrip(".")
    low = text.lower()
    if any(word in low for word in _ENDING) or status == 503:
        return GameNodeError(Code.ENGINE_UNAVAILABLE, f"the engine could not {doing} {subject}: {text}")
    if "no space left on device" in low:
        return GameNodeError(Code.STORAGE_FULL, f"the engine's disk is full: {text}")
    if "no such image" in low or (status == 404 and doing in ("pull", "find image")):
        return image_missing(subject)
    if found := re.search(r'container name "?/?([^"\s]+)"? is already in use by container "?(\w+)', text):
        name, holder = found.groups()
        return GameNodeError(
            Code.NAME_CONFLICT,
            f"the name {name} is taken by container {holder[:12]}: remove it, or choose another name",
            details={"holder": holder},
        )
    if "no such container" in low or "no such exec" in low or "no container with name" in low:
        return gone(subject)
    if "marked for removal" in low and doing != "remove":  # it is there for a moment still, and does nothing more
        return gone(subject)
    if "does not support reading" in low:
        return GameNodeError(Code.INVALID_ARGUMENT, f"the logging driver of {subject} does not let its log be read")
    if doing == "start" and any(word in low for word in _HALF):
        return HalfStarted(
            Code.STATE_CONFLICT,
            f"the engine went away in the middle of a start of {subject[:12]} and cannot start it any more: remove it, "
            f"and have it made anew ({text})",
        )
    if doing in ("create", "start", "exec") and (special := _unable(text, low)):
        return special
    if status == 409 and doing == "remove" and "running container" in low:
        which = subject[:12] if len(subject) == 64 else subject  # an id as people see it
        return GameNodeError(Code.STATE_CONFLICT, f"container {which} runs: stop it first, or use force")
    if status == 409:
        return GameNodeError(Code.STATE_CONFLICT, f"cannot {doing} {subject}: {text}")
    if status == 400 or doing in ("create", "start"):
        return GameNodeError(Code.INVALID_ARGUMENT, f"the engine will not {doing} {subject}: {text}")
    return GameNodeError(Code.STEP_FAILED, f"the engine could not {doing} {subject}: {text}")


def _unable(text: str, low: str) -> GameNodeError | None:
    if found := re.search(r"network ([^\s:]+) not found", text):
        name = found.group(1)
        return GameNodeError(
            Code.INVALID_ARGUMENT,
            f"network {name} is not on this node: `docker network create {name}` makes it",
        )
    if "port is already allocated" in low or "address already in use" in low:
        port = re.search(r"(?:bind for|listen \w+) (\S+?):? (?:failed|bind)", low)
        which = f"port {port.group(1)}" if port else "a port"
        return GameNodeError(Code.INSUFFICIENT_RESOURCES, f"{which} of this node is taken: {text}")
    if "could not select device driver" in low and "gpu" in low:
        return GameNodeError(
            Code.INSUFFICIENT_RESOURCES,
            "the engine of this node has no driver for GPUs: install the NVIDIA container toolkit",
        )
    if "gathering device information" in low:
        return GameNodeError(Code.INSUFFICIENT_RESOURCES, f"a device is not on this node: {text}")
    if "executable file not found" in low:
        return GameNodeError(Code.INVALID_ARGUMENT, f"the command is not in the image: {text}")
    return None


def image_missing(reference: str) -> GameNodeError:
    """The image is not there."""
    return GameNodeError(
        Code.IMAGE_MISSING,
        f"image {reference} is not on this node: get it with container.pull, or container.load where there is no "
        "registry",
    )


def gone(container: str) -> GameNodeError:
    """The container is not there (any more)."""
    return GameNodeError(Code.CONTAINER_GONE, f"there is no container {container}: it was removed, or never made here")


def unavailable(problem: str) -> GameNodeError:
    """The engine cannot be reached."""
    return GameNodeError(Code.ENGINE_UNAVAILABLE, problem)


def not_asked(problem: str) -> NotAsked:
    """The engine cannot be reached, and has not been."""
    return NotAsked(Code.ENGINE_UNAVAILABLE, problem)


def translated(error: Exception, *, doing: str, subject: str = "") -> GameNodeError | None:
    """The same for an exception of `docker` or what it stands on; None for a bug of ours."""
    if isinstance(error, GameNodeError):
        return error
    import docker.errors
    import requests
    import urllib3

    if isinstance(error, docker.errors.APIError):
        response: Any = error.response
        status = response.status_code if response is not None else 500
        return refusal(status, str(error.explanation or error), doing=doing, subject=subject)
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return unavailable(f"the engine did not answer in time (asked to {doing} {subject})")
    broken = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, docker.errors.DockerException)
    if isinstance(error, broken):
        cause = _cause(error)
        shortly = str(cause) or type(cause).__name__
        if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
            return not_asked(f"the engine could not be asked to {doing} {subject}: {shortly}")
        return unavailable(f"lost the engine while it was asked to {doing} {subject}: {shortly}")
    return None


def _cause(error: BaseException) -> BaseException:
    """What is under that which the libraries wrapped around it."""
    while True:
        inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        if not isinstance(inner, BaseException):
            return error
        error = inner

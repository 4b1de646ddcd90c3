"""What Docker says, in our codes."""

from __future__ import annotations

import pytest
import requests
import urllib3

from gamenode_agent.engines.containers import HalfStarted, NotAsked
from gamenode_agent.engines.docker.errors import refusal, translated
from gamenode_pipelines.errors import Code

HOLDER = "d8e1c0f2a7b3d8e1c0f2a7b3"


@pytest.mark.parametrize(
    ("status", "doing", "words", "code", "says"),
    [
        (404, "create", "No such image: gn/oa:1", Code.IMAGE_MISSING, "container.pull"),
        (404, "pull", "manifest for oa:1 not found: manifest unknown", Code.IMAGE_MISSING, "oa-1"),
        (404, "start", "No such container: oa-1", Code.CONTAINER_GONE, "oa-1"),
        (404, "find", "No such exec instance: abc", Code.CONTAINER_GONE, "oa-1"),
        (
            409,
            "find",
            "can not get logs from container which is dead or marked for removal",
            Code.CONTAINER_GONE,
            "oa-1",
        ),
        (
            409,
            "create",
            f'Conflict. The container name "/oa-1" is already in use by container "{HOLDER}". You have to remove it.',
            Code.NAME_CONFLICT,
            "the name oa-1 is taken by container d8e1c0f2a7b3",
        ),
        (404, "start", "network games not found", Code.INVALID_ARGUMENT, "docker network create games"),
        (
            500,
            "start",
            "driver failed programming external connectivity on endpoint oa (1f): "
            "Bind for 0.0.0.0:27960 failed: port is already allocated",
            Code.INSUFFICIENT_RESOURCES,
            "port 0.0.0.0:27960 of this node is taken",
        ),
        (
            500,
            "start",
            "failed to bind port: listen udp4 0.0.0.0:27960: bind: address already in use",
            Code.INSUFFICIENT_RESOURCES,
            "port 0.0.0.0:27960 of this node is taken",
        ),
        (
            500,
            "start",
            'could not select device driver "" with capabilities: [[gpu]]',
            Code.INSUFFICIENT_RESOURCES,
            "NVIDIA",
        ),
        (
            500,
            "start",
            'error gathering device information while adding custom device "/dev/x": no such file or directory',
            Code.INSUFFICIENT_RESOURCES,
            "/dev/x",
        ),
        (400, "start", 'exec: "play": executable file not found in $PATH: unknown', Code.INVALID_ARGUMENT, "image"),
        (400, "create", "Minimum memory limit allowed is 6MB", Code.INVALID_ARGUMENT, "6MB"),
        (500, "start", "OCI runtime create failed: whatever", Code.INVALID_ARGUMENT, "whatever"),
        (500, "create", "mkdir /var/lib: no space left on device", Code.STORAGE_FULL, "disk is full"),
        (409, "remove", "You cannot remove a running container abc.", Code.STATE_CONFLICT, "container oa-1 runs: stop"),
        (500, "find", "configured logging driver does not support reading", Code.INVALID_ARGUMENT, "logging driver"),
        (500, "kill", "grpc: the client connection: transport is closing", Code.ENGINE_UNAVAILABLE, "kill"),
        (503, "list", "starting", Code.ENGINE_UNAVAILABLE, "list"),
        (500, "kill", "something else", Code.STEP_FAILED, "something else"),
    ],
)
def test_refusals(status: int, doing: str, words: str, code: Code, says: str) -> None:
    error = refusal(status, words, doing=doing, subject="oa-1")
    assert error.code is code
    assert says in error.message


def test_the_holder_of_a_name_is_told_in_full() -> None:
    words = f'The container name "/oa" is already in use by container "{HOLDER}"'
    assert refusal(409, words, doing="create").details == {"holder": HOLDER}


def test_a_broken_line_is_an_engine_that_is_away_and_a_bug_is_a_bug() -> None:
    error = translated(ConnectionResetError(104, "Connection reset by peer"), doing="start", subject="oa-1")
    assert error is not None
    assert error.code is Code.ENGINE_UNAVAILABLE
    assert "start oa-1" in error.message
    assert translated(KeyError("Id"), doing="start") is None


@pytest.mark.parametrize("words", ["task 1f: already exists", "id already in use", "container with id exists: 1f"])
def test_a_container_that_an_earlier_engine_has_half_started_is_named(words: str) -> None:
    error = refusal(500, words, doing="start", subject="1f")
    assert isinstance(error, HalfStarted)
    assert error.code is Code.STATE_CONFLICT
    assert words in error.message
    assert not isinstance(refusal(500, words, doing="create", subject="1f"), HalfStarted)


@pytest.mark.parametrize(
    ("cause", "asked"),
    [(ConnectionRefusedError(111, "refused"), False), (FileNotFoundError(2, "none"), False), (BrokenPipeError(), True)],
)
def test_an_engine_that_nobody_reached_was_asked_nothing(cause: OSError, asked: bool) -> None:
    wrapped = requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", cause))
    error = translated(wrapped, doing="start", subject="oa-1")
    assert error is not None
    assert error.code is Code.ENGINE_UNAVAILABLE
    assert isinstance(error, NotAsked) is not asked

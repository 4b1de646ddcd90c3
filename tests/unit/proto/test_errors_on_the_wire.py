from __future__ import annotations

import grpc
import grpc.aio
import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.errors import CODE_KEY, MAX_MESSAGE, STATUS_OF, from_rpc, message_of, trailers_of, translated
from gamenode_proto.process.exits import ExitCode, exit_for
from gamenode_proto.transport import channel_options


def test_every_code_has_a_status_and_an_exit_code() -> None:
    assert set(STATUS_OF) == set(Code)
    assert grpc.StatusCode.OK not in STATUS_OF.values()
    assert all(exit_for(code) not in (ExitCode.OK, ExitCode.INTERRUPTED) for code in Code)


@pytest.fixture
async def answer():  # type: ignore[no-untyped-def]
    """Calls a real server whose handler raises what it is given, and returns the client's error."""
    server = grpc.aio.server()
    raised: list[BaseException] = []

    async def call(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        async with translated(context):
            if raised:
                raise raised[0]
        return b"fine"

    handler = grpc.unary_unary_rpc_method_handler(call)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Call": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=channel_options(tls=False)) as channel:

        async def ask(error: BaseException) -> GameNodeError:
            raised[:] = [error]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/t.T/Call")(b"")
            assert caught.value.code() is STATUS_OF[from_rpc(caught.value).code]
            return from_rpc(caught.value)

        yield ask
    await server.stop(None)


async def test_a_code_its_words_and_details_survive_the_trip(answer) -> None:  # type: ignore[no-untyped-def]
    sent = GameNodeError(Code.INSUFFICIENT_RESOURCES, "näh: 512 MiB\nneeded", details={"needed": "512", "frei": "ä"})
    got = await answer(sent)
    assert (got.code, got.message, got.details) == (sent.code, sent.message, sent.details)


@pytest.mark.parametrize("code", list(Code))
async def test_each_code_survives(answer, code: Code) -> None:  # type: ignore[no-untyped-def]
    assert (await answer(GameNodeError(code, "x"))).code is code


async def test_an_unexpected_error_tells_an_id_and_nothing_else(answer, caplog) -> None:  # type: ignore[no-untyped-def]
    got = await answer(KeyError("the password is hunter2"))
    assert got.code is Code.INTERNAL
    assert "hunter2" not in got.message
    incident = got.details["id"]
    assert incident in got.message
    record = next(r for r in caplog.records if getattr(r, "incident", None) == incident)
    assert record.exc_info is not None


async def test_a_huge_message_is_cut_and_not_lost(answer) -> None:  # type: ignore[no-untyped-def]
    got = await answer(GameNodeError(Code.INVALID_ARGUMENT, "ü" * 100_000, details={"k": "v" * 100_000}))
    assert got.code is Code.INVALID_ARGUMENT
    assert got.message.startswith("üüü")
    assert got.message.endswith("…")


def test_trailers_hold_the_code_only_where_details_would_not_fit() -> None:
    assert trailers_of(GameNodeError(Code.LOST, "x", details={"k": "v" * 10_000})) == ((CODE_KEY, "lost"),)
    assert len(message_of(GameNodeError(Code.LOST, "é" * MAX_MESSAGE)).encode()) < MAX_MESSAGE + 10


async def test_no_server_is_disconnected() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Call")(b"", timeout=5)
    assert from_rpc(caught.value).code is Code.DISCONNECTED
    assert "cannot be reached" in from_rpc(caught.value).message


def test_a_word_of_a_newer_peer_falls_back_to_its_status() -> None:
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.NOT_FOUND,
        initial_metadata=grpc.aio.Metadata(),
        trailing_metadata=grpc.aio.Metadata((CODE_KEY, "galaxy_missing")),
        details="no such galaxy",
    )
    got = from_rpc(error)
    assert got.code is Code.NOT_FOUND
    assert "galaxy_missing" in got.message


@pytest.mark.parametrize(
    ("status", "words"),
    [(grpc.StatusCode.INTERNAL, "Internal error from Core"), (grpc.StatusCode.UNKNOWN, "Stream removed")],
)
def test_a_connection_that_goes_away_under_an_operation_is_lost(status: grpc.StatusCode, words: str) -> None:
    error = from_rpc(grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), words))
    assert error.code is Code.DISCONNECTED
    assert words in error.message

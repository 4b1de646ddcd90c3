"""What an agent tells a server of containers, and how it obeys and answers it: a real link, an engine of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gamenode_agent.artifacts.desk import ArtifactDesk
from gamenode_agent.artifacts.kept import Kept
from gamenode_agent.clock import BootClock
from gamenode_agent.config import AgentSettings
from gamenode_agent.containers import assembly
from gamenode_agent.containers.assembly import Containers
from gamenode_agent.engines.containers import CLUSTER, ContainerSpec
from gamenode_agent.host import HostMetrics
from gamenode_agent.journal import Journal
from gamenode_agent.link.connection import Link, LinkHooks
from gamenode_agent.news import NodeNews
from gamenode_agent.outbox import Outbox
from gamenode_proto.v1.agent_link_pb2 import ContainerCommand, ContainerLogsWanted, Hello, ServerFrame
from gamenode_proto.v1.nodes_pb2 import Container, HostFacts
from support.fake_answers import FakeAnswer
from support.fake_engine import FakeEngine
from support.fake_server import FakeServer, fake_server
from support.play import IMAGE, PROGRAM
from support.waiting import until


class Host:
    """An agent's link and containers, with the server's view of them."""

    def __init__(self, fake: FakeServer, engine: FakeEngine) -> None:
        self.fake = fake
        self.engine = engine
        self.events: list[str] = []
        self._asked = 0

    async def make(self, name: str, *words: str, cluster: str = "cluster") -> str:
        """A container that runs."""
        command = (PROGRAM, *(words or ("sleep=60",)))
        made = await self.engine.create(
            ContainerSpec(name=name, image=IMAGE, command=command, labels={CLUSTER: cluster})
        )
        await self.engine.start(made)
        return made

    def containers(self) -> dict[str, Container]:
        """What the server knows by now, by name."""
        known: dict[str, Container] = {}
        seen = self.fake.sessions[-1]
        reports = [seen.hello.containers, *(each.heartbeat.containers for each in seen.frames)]
        for report in reports:
            if report.complete:
                known = {}
            known |= {each.id: each for each in report.containers}
            for gone in report.removed:
                known.pop(gone, None)
            for figures in report.usage:
                known[figures.id].usage.CopyFrom(figures)
        return {each.name: each for each in known.values()}

    def facts(self) -> HostFacts:
        """The facts the server was told last."""
        seen = self.fake.sessions[-1]
        beats = [each.heartbeat.facts for each in seen.frames if each.heartbeat.HasField("facts")]
        return beats[-1] if beats else seen.hello.facts

    async def ask_logs(self, container: str, *, follow: bool = False, since: float = 0.0, tail: int = -1) -> FakeAnswer:
        """The answer, once it has begun."""
        self._asked += 1
        wanted = ContainerLogsWanted(
            request_id=f"q{self._asked}", container=container, follow=follow, since=since, tail=tail
        )
        self.fake.send(ServerFrame(container_logs=wanted))
        return await self.fake.answers.begun(wanted.request_id)


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@asynccontextmanager
async def connected(tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    engine = FakeEngine()
    monkeypatch.setattr(assembly, "open_engine", lambda _settings: engine)
    identity = fake.identity(tmp_path)
    settings = AgentSettings(data_dir=tmp_path, reconnect_base=0.01, reconnect_max=0.05, engine_wait=0.1)
    journal = Journal(tmp_path / "journal.db")
    outbox = Outbox(journal, outbox_id="o", first=1, last=0, acked=0)
    clock = BootClock.from_wall()
    host = Host(fake, engine)
    async with asyncio.TaskGroup() as group:
        containers = Containers(
            settings,
            identity,
            clock=clock,
            artifacts=ArtifactDesk(Kept(settings.agent_dir / "artifacts", reserve=0)),
            group=group,
            tell=lambda kind, _data: host.events.append(kind),
            reply=lambda command_id, error: link.send_result(command_id, error),
            on_engine=lambda: news.facts_may_differ(),
        )

        def facts() -> HostFacts:
            found = HostFacts(hostname="h")
            containers.add_facts(found)
            return found

        news = NodeNews(HostMetrics(tmp_path), containers.inventory, facts)

        def hello() -> Hello:
            message = Hello(node_id="node1", protocol_min=1, protocol_max=1, outbox_id="o", outbox_first=1)
            news.begin(message)
            return message

        link = Link(
            identity,
            agent_dir=tmp_path,
            settings=settings,
            clock=clock,
            journal=journal,
            outbox=outbox,
            uplinks=(containers.answers,),
            max_epoch=0,
        )
        hooks = LinkHooks(hello, news, containers, lambda _: None, lambda _by, _why: None, lambda: None)
        work: Any = SimpleNamespace(tasks_running=0)
        watch = group.create_task(containers.run())
        group.create_task(link.run(work, hooks))
        await fake.wait_connected()
        yield host
        link.stop("enough")
        watch.cancel()
    await engine.close()
    await journal.close()


# -- telling -----------------------------------------------------------------------------------------------------------


async def test_a_change_is_told_at_once_and_not_with_the_next_beat(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.heartbeat = 30.0
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        await until(lambda: "game" in host.containers(), seconds=10, what="the container")
        host.engine.finish("game", 3)
        await until(lambda: host.containers()["game"].exit_code == 3, seconds=10, what="its end")
        await host.engine.remove("game")
        await until(lambda: not host.containers(), seconds=10, what="its removal")


async def test_many_changes_share_few_beats(tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.heartbeat = 30.0
    async with connected(tmp_path, fake, monkeypatch) as host:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for count in range(200):
            await host.make(f"game-{count}", "exit=0")
        await until(lambda: len(host.containers()) == 200, what="all of them")
        await until(lambda: all(each.state == "exited" for each in host.containers().values()), what="their ends")
        beats = sum(1 for each in fake.sessions[-1].frames if each.HasField("heartbeat"))
        assert beats <= 3 + 2 * (loop.time() - began)


async def test_a_new_session_is_told_everything_again(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        await until(lambda: "game" in host.containers(), what="the container")
        fake.send(ConnectionError("go away"))
        again = await fake.wait_connected(2)
        assert again.hello.containers.complete
        assert [each.name for each in again.hello.containers.containers] == ["game"]


async def test_the_metrics_count_containers_and_what_each_uses(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        await host.make("over", "exit=0")
        await until(lambda: host.containers().get("game", Container()).usage.memory_used, what="figures")

        def counted() -> bool:
            samples = [each.heartbeat.metrics for each in fake.sessions[-1].frames]
            return (samples[-1].containers_running, samples[-1].containers_total) == (1, 2)

        await until(counted, what="the counts")


async def test_an_engine_that_goes_and_comes_is_told_of(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.heartbeat = 30.0
    async with connected(tmp_path, fake, monkeypatch) as host:
        first = fake.sessions[0].hello.facts
        assert {"docker", "docker.limits.memory", "docker.network.host"} <= set(first.capabilities)
        assert (first.engine.available, first.engine.version) == (True, "99.0")
        host.engine.come_back()
        host.engine.go_away("somebody stopped it")
        await until(lambda: not host.facts().engine.available, seconds=10, what="the outage")
        assert host.facts().engine.problem == "somebody stopped it"
        assert "docker" not in host.facts().capabilities
        host.engine.come_back()
        await until(lambda: "docker" in host.facts().capabilities, seconds=10, what="its return")
        assert host.events == ["engine.found", "engine.lost", "engine.found"]


# -- obeying -----------------------------------------------------------------------------------------------------------


async def test_a_command_is_carried_out_and_answered(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        stop = ContainerCommand(command_id="k1", action=ContainerCommand.ACTION_STOP, container="game", grace=-1)
        fake.send(ServerFrame(container_command=stop))
        assert not (await fake.result("k1")).error.code
        await until(lambda: host.containers().get("game", Container()).state == "exited", what="the end")
        fake.send(ServerFrame(container_command=stop))
        await until(lambda: len(fake.results("k1")) == 2, what="the same answer")


async def test_a_foreign_container_is_refused_by_name(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("theirs", cluster="another")
        remove = ContainerCommand(command_id="k1", action=ContainerCommand.ACTION_REMOVE, container="theirs")
        fake.send(ServerFrame(container_command=remove))
        error = (await fake.result("k1")).error
        assert error.code == "permission_denied"
        assert "theirs" in error.message


async def test_a_slow_command_holds_up_nothing(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("deaf", "ignore-term", "sleep=60")
        stop = ContainerCommand(command_id="slow", action=ContainerCommand.ACTION_STOP, container="deaf", grace=30)
        fake.send(ServerFrame(container_command=stop))
        other = ContainerCommand(command_id="k2", action=ContainerCommand.ACTION_STOP, container="nobody")
        fake.send(ServerFrame(container_command=other))
        assert (await fake.result("k2")).error.code == "not_found"
        assert not fake.results("slow")
        await host.engine.kill("deaf")
        assert not (await fake.result("slow")).error.code


# -- answering ---------------------------------------------------------------------------------------------------------


async def test_a_log_is_answered_whole_on_a_connection_of_its_own(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game", "print=line*5", "err=oh", "exit=0")
        answer = await (await host.ask_logs("game")).ended()
        assert answer.whole
        assert answer.data == b"line 1\nline 2\nline 3\nline 4\nline 5\noh\n"
        assert [piece.stream for piece in answer.pieces if piece.data] == [1, 1, 1, 1, 1, 2]
        assert all(piece.time > 1e9 for piece in answer.pieces if piece.data)
        tail = await (await host.ask_logs("game", tail=2)).ended()
        assert tail.data == b"line 5\noh\n"
        assert not fake.answers.peers & {seen.peer for seen in fake.sessions}


async def test_a_followed_log_goes_on_until_its_container_ends(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        answer = await host.ask_logs("game", follow=True)
        host.engine.say("game", b"one\n")
        await until(lambda: answer.data == b"one\n", what="the first line")
        host.engine.say("game", b"two\n")
        host.engine.finish("game", 0)
        assert (await answer.ended()).data == b"one\ntwo\n"
        assert answer.whole


async def test_the_server_may_have_heard_enough_of_a_silent_log(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        left: list[bool] = []
        lines = host.engine.logs

        async def watched(*args: Any, **options: Any) -> AsyncIterator[Any]:
            try:
                async for line in lines(*args, **options):
                    yield line
            finally:
                left.append(True)

        monkeypatch.setattr(host.engine, "logs", watched)
        answer = await host.ask_logs("game", follow=True)
        host.engine.say("game", b"one\n")
        await until(lambda: answer.data, what="the first line")
        answer.close()
        await until(lambda: left, what="the log to be let go")


async def test_an_answer_ends_with_its_session(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        answer = await host.ask_logs("game", follow=True)
        fake.send(ConnectionError("go away"))
        await answer.ended()
        assert not answer.whole
        await fake.wait_connected(2)
        host.engine.say("game", b"one\n")
        assert (await (await host.ask_logs("game", tail=1)).ended()).data == b"one\n"


async def test_a_reader_that_is_slow_holds_the_log_back(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        read = 0
        lines = host.engine.logs

        async def counted(*args: Any, **options: Any) -> AsyncIterator[Any]:
            nonlocal read
            async for line in lines(*args, **options):
                read += 1
                yield line

        monkeypatch.setattr(host.engine, "logs", counted)
        fake.answers.reading.clear()
        for _ in range(1000):
            host.engine.say("game", b"x" * 65536 + b"\n")
        answer = await host.ask_logs("game")
        await asyncio.sleep(1.0)
        before = read
        await asyncio.sleep(0.5)
        assert before == read < 500
        fake.answers.reading.set()
        await answer.ended()
        assert answer.whole
        assert len(answer.data) == 1000 * 65537


async def test_more_answers_than_there_may_be_are_refused_by_name(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        await host.make("game")
        for _ in range(16):
            await host.ask_logs("game", follow=True)
        answer = await (await host.ask_logs("game", follow=True)).ended()
        assert answer.pieces[-1].error.code == "limit_exceeded"
        assert answer.whole


async def test_why_there_is_no_log_is_answered_by_name(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(tmp_path, fake, monkeypatch) as host:
        answer = await (await host.ask_logs("nobody")).ended()
        assert answer.pieces[-1].error.code == "not_found"
        host.engine.go_away("somebody stopped it")
        answer = await (await host.ask_logs("nobody")).ended()
        assert answer.pieces[-1].error.code == "engine_unavailable"
        assert answer.pieces[-1].error.message == "somebody stopped it"

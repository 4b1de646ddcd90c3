"""Steps that use a kind, in files: what they load to, and everything wrong with them at its place."""

from __future__ import annotations

import time

import pytest

from gamenode_pipelines.errors import InvalidPipeline
from gamenode_pipelines.load import LoadedPipeline, load_pipelines

RUN = "pipeline: p\nsteps:\n  - id: a\n    uses: container.run\n    with:\n      name: oa\n      image: oa\n"


def load(text: str) -> LoadedPipeline:
    (loaded,) = load_pipelines(text, "p.yaml")
    return loaded


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidPipeline) as caught:
        load_pipelines(text, "p.yaml")
    return [str(problem).removeprefix("p.yaml:") for problem in caught.value.problems]


def step(uses: str, with_: str = "", more: str = "") -> str:
    return f"pipeline: p\nsteps:\n  - id: a\n    uses: {uses}\n{more}" + (f"    with: {with_}\n" if with_ else "")


def test_a_step_of_a_kind_is_read_and_its_values_have_one_spelling() -> None:
    text = RUN + (
        "      ports: [27960/udp, 28000:80]\n"
        "      command: [sleep, 10]\n"
        "      env: {N: 0.10, ON: on}\n"
        "      resources: {memory: 1024m, cpus: 1}\n"
        "      restart: no\n"
        "      stop: {grace: 90s, signal: sigint}\n"
        "    env: {TZ: UTC}\n"
    )
    (a,) = load(text).spec.steps
    assert (a.uses, a.run, a.env) == ("container.run", None, {"TZ": "UTC"})
    assert a.with_ == {
        "name": "oa",
        "image": "oa",
        "command": ("sleep", "10"),
        "env": {"N": "0.10", "ON": "on"},
        "ports": ("auto:27960/udp", "28000:80/tcp"),
        "resources": {"cpus": 1.0, "memory": "1g"},
        "restart": "no",
        "stop": {"signal": "INT", "grace": "1m30s"},
    }
    assert load(text).warnings == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the step
        (
            "pipeline: p\nsteps: [{id: a, uses: contaner.pull}]\n",
            "2:23: there is no step kind 'contaner.pull'; did you",
        ),
        ("pipeline: p\nsteps: [{id: a, uses: container.pull}]\n", "2:9: `image` is missing in container.pull"),
        (step("check.tcp", "{port: 80}", "    run: x\n"), "5:10: a step has either `run` or `uses`; remove one"),
        ("pipeline: p\nsteps:\n  - id: a\n    run: x\n    with: {a: b}\n", "5:5: `with` belongs to `uses`"),
        (
            "pipeline: p\nsteps:\n  - id: a\n    with: {a: b}\n",
            "`run` is missing in a step, like `run: echo hello`; or",
        ),
        (step("check.tcp", "[80]"), "5:5: `with` must be a mapping of keys to values, not a list"),
        (step("check.tcp", "{port: 80}", "    user: x\n"), "5:11: `user` belongs to `run`; remove it"),
        (RUN + "    workdir: /x\n", "8:14: `workdir` belongs to `run`; write `workdir` under `with`"),
        (RUN + "    limits: {cpus: 1}\n", "8:5: `limits` belongs to `run`; write `resources` under `with`"),
        (RUN + "    shell: sh\n", "8:12: `shell` belongs to `run`; write `command: [sh, -c, …]` under `with`"),
        (RUN + "    retry: {on: losst}\n", "8:17: `on` 'losst' is none of"),
        (step("container.job", "{image: x}", "    retry: {on: lost}\n"), "5:17: a lost step may have run"),
        # its fields
        (RUN + "      imge: x\n", "8:7: unknown field 'imge' of container.run; did you mean 'image'?"),
        (RUN + "      memory: 1g\n", "8:7: unknown field 'memory' of container.run; did you mean 'resources.memory'?"),
        (
            RUN + "      mem_limit: 1g\n",
            "8:7: unknown field 'mem_limit' of container.run; did you mean 'resources.memory'?",
        ),
        (RUN + "      environment: {}\n", "8:7: unknown field 'environment' of container.run; did you mean 'env'?"),
        (RUN + "      secrets: {a: b}\n", "8:7: not yet: `secrets`"),
        (RUN + "      tty: maybe\n", "8:12: `tty` must be true or false, not 'maybe'"),
        (RUN + '      tty: "${{ params.x }}"\n', "8:13: there is no parameter 'x'"),
        (RUN + "      user:\n", "8:7: `user` has no value"),
        (step("container.pull", "{image: }"), "5:12: `image` has no value"),
        (RUN + "      ports: [80, 70000:80]\n", "8:19: `ports` '70000' in '70000:80' is not a port"),
        (RUN + "      ports: 80\n", "8:14: `ports` must be a list, not '80'"),
        (RUN + "      ports: ['80:80', '80:81']\n", "8:7: `ports` uses port 80/tcp of the host twice"),
        (RUN + "      volumes:\n        - ../x:/x\n", "9:11: `volumes` '../x' in '../x:/x' is neither"),
        (RUN + "      resources: {memory: lots}\n", "8:27: `memory` 'lots' is not a size"),
        (
            RUN + "      resources: {memroy: 1g}\n",
            "8:19: unknown field 'memroy' of `resources`; did you mean 'memory'?",
        ),
        (RUN + "      env: {1A: x}\n", "8:13: '1A' cannot be the name of an environment variable"),
        (RUN + "      env: {A: [x]}\n", "8:13: `A` must be text, not a list"),
        (RUN + "      healthcheck: {interval: 5s}\n", "8:7: `test` is missing in a health check"),
        (RUN + "      stop: {via: exec}\n", "8:19: `via` needs a `command`"),
        (step("container.wait", "{name: oa, for: log}"), "5:5: `pattern` is missing: `for: log` waits for a line"),
        (step("container.wait", "{name: oa, for: ready}"), "5:27: `for` 'ready' is none of healthy, running, exited"),
        (step("container.load", "{from: a/b.tar}"), "5:18: `from` must be 1 to 128 letters, digits,"),
        (step("file.fetch", "{path: x}"), "5:5: `url` is missing, or `from`"),
        (step("file.fetch", "{path: x, url: 'http://a'}"), "5:5: `sha256` is missing: what comes from"),
        (
            step("file.fetch", "{path: x, url: 'http://a', sha256: %s, from: b}" % ("a" * 64)),
            "5:118: `from` does not go",
        ),
        (step("file.fetch", "{path: x, from: maps/a.cfg}"), "5:27: 'maps/a.cfg' is none of the pipeline's `files`"),
        (
            f"files: [maps/b.cfg]\n{step('file.fetch', '{path: x, from: maps/a.cfg}')}",
            "6:27: 'maps/a.cfg' is none of the pipeline's `files`; did you mean 'maps/b.cfg'?",
        ),
        (step("file.fetch", "{path: x, from: /srv/x}"), "5:27: `from` must be 1 to 128 letters, digits,"),
        (step("file.fetch", "{path: x, from: sha256:12}"), "5:27: `from` is no SHA-256"),
        (step("artifact.put", "{name: a/b, path: x}"), "5:18: `name` must be 1 to 128 letters, digits,"),
        (step("artifact.put", "{name: %s, path: x}" % ("ab" * 32)), "5:18: `name` looks like a digest"),
        (step("artifact.put", "{name: a, path: x, to: both}"), "5:34: `to` "),
        (step("game.query", "{protocol: quake, port: 1}"), "5:22: `protocol` 'quake' is none of"),
        (step("game.rcon", "{protocol: source, port: 1, password: x, commands: []}"), "`commands` is empty"),
        # expressions
        (RUN + '      hostname: "${{ nod.name }}"\n', "8:18: "),
        (RUN + '      labels: {a: "x ${{ node.name }"}\n', "8:22: the ${{ has no }}"),
        (RUN + '      env: {"${{ node.name }}": x}\n', "8:13: expressions are not allowed in a key"),
        (RUN + "      command: 'a ${{ params.x }} \"'\n", "`command`"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(text: str, expected: str) -> None:
    found = problems(text)
    assert any(problem.startswith(expected) if expected[1:2] == ":" else expected in problem for problem in found), (
        found
    )


def test_everything_is_reported_at_once() -> None:
    text = RUN + (
        "      prts: [80]\n      ports: [x, 80]\n      resources: {cpus: 0, memory: x}\n      tty: 5\n"
        '      hostname: "${{ params.nope }}"\n    workdir: x\n    timeout: x\n'
    )
    assert [problem.split(": ")[0] for problem in problems(text)] == [
        "8:7", "9:15", "10:25", "10:36", "11:12", "12:18", "13:14", "14:14",
    ]  # fmt: skip


def test_an_output_that_is_not_there_yet_is_a_warning() -> None:
    text = RUN + '      hostname: "${{ steps.b.outputs.x }}"\n  - id: b\n    run: x\n'
    (warning,) = load(text).warnings
    assert (warning.line, warning.column) == (8, 18)
    assert "step 'b' may not have ended when this is read" in warning.message


def test_a_bare_duration_is_a_warning_but_for_seconds() -> None:
    text = RUN + (
        "      stop: {grace: 5}\n      env: {GRACE: 5}\n  - id: b\n    uses: container.wait\n"
        "    with: {name: oa, seconds: 30}\n"
    )
    assert [(w.line, w.message) for w in load(text).warnings] == [
        (8, "a duration without a unit is read as seconds; write 5s")
    ]


def test_a_kind_that_may_run_twice_may_be_retried_when_lost() -> None:
    for kind, with_ in (("container.pull", "{image: x}"), ("check.tcp", "{port: 80}")):
        load(step(kind, with_, "    retry: {on: lost}\n"))
    load(step("container.exec", "{name: oa, command: x}", "    retry: {on: lost}\n    idempotent: true\n"))


def test_a_retry_of_a_kind_that_nobody_knows_is_not_blamed() -> None:
    assert len(problems(step("contaner.job", "{image: x}", "    retry: {on: lost}\n"))) == 1


def many(with_: str, uses: str = "container.run", count: int = 500) -> str:
    one = "  - {{id: a{i}, uses: " + uses + ", with: {{" + with_ + "}}}}\n"
    return "pipeline: p\nsteps:\n" + "".join(one.format(i=i) for i in range(count))


PORTS = ", ".join(f"'{port}:{port}/udp'" for port in range(1, 90))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(many(f"name: oa, image: oa, ports: [{PORTS}]"), "", id="many ports"),
        pytest.param(many("name: oa, image: oa, ports: ['1-65535:1-65535']"), "at most 1000", id="wide ranges"),
        pytest.param(
            many("name: oa, for: log, pattern: '" + "[a-z]|" * 49 + "{i}'", "container.wait"), "", id="patterns"
        ),
        pytest.param(many('name: oa, command: "' + "'a b' " * 300 + '"', "container.exec"), "", id="commands"),
        pytest.param(
            many('name: oa, command: "' + "'a b' " * 300 + "'\"", "container.exec"), "no closing", id="quotes"
        ),
        pytest.param(
            many("name: oa, image: oa, env: {{" + ", ".join(f"a{i}: x" for i in range(90)) + "}}"), "", id="variables"
        ),
        pytest.param(
            many("name: oa, image: oa, " + ", ".join(f"x{i}: x" for i in range(90))), "unknown field", id="unknown"
        ),
        pytest.param(many("image: oa", "container.pull", 10_001), "10001 steps", id="10,001 steps"),
    ],
)
def test_a_large_file_is_read_in_time(text: str, words: str) -> None:
    load(RUN)
    times = []
    for number in range(3):  # the quickest counts: what else the processor does is not of the file
        another = f"{text}\n# {number}\n"
        started = time.process_time()
        if words:
            with pytest.raises(InvalidPipeline) as caught:
                load_pipelines(another, "p.yaml")
            assert any(words in problem.message for problem in caught.value.problems)
            assert all(len(problem.message) < 1000 for problem in caught.value.problems)
        else:
            assert len(load(another).spec.steps) == 500
        times.append(time.process_time() - started)
    assert min(times) < 1.0

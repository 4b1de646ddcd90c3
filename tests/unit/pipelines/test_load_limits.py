"""Promise 32: a hostile file gets a clear error with line and column in under a second (of processor time)."""

from __future__ import annotations

import time

import pytest

from gamenode_pipelines.errors import InvalidPipeline
from gamenode_pipelines.load import MAX_PROBLEMS, load_pipelines

HEAD = "pipeline: p\nsteps:\n"
LAUGHS = "a: &a [lol]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


def steps(count: int, extra: str = "", run: str = "x") -> str:
    return HEAD + "".join(
        f"  - id: s{i}\n    run: {run}\n{extra.format(i=i, next=(i + 1) % count)}" for i in range(count)
    )


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        pytest.param(LAUGHS, (1, 4), "anchor", id="billion laughs"),
        pytest.param("a: &a [*a]\n", (1, 4), "anchor", id="recursive alias"),
        pytest.param(HEAD + "  - &s {id: a, run: x}\n  - *s\n", (3, 5), "anchor", id="alias"),
        pytest.param("pipeline: !!python/object/apply:os.system [id]\n", (1, 11), "tag", id="tag"),
        pytest.param("[" * 500_000, (1, 65), "64 levels", id="deep lists"),
        pytest.param("{a: " * 200_000, (1, 257), "64 levels", id="deep mappings"),
        pytest.param("- " * 300_000, (1, 129), "64 levels", id="deep items"),
        pytest.param("".join(" " * i + "a:\n" for i in range(1000)), (65, 65), "64 levels", id="deep indents"),
        pytest.param(steps(10_001), (1003, 5), "10001 steps; at most 500", id="10,001 steps"),
        pytest.param(
            steps(300) + "finally:\n" + steps(201).replace("id: s", "id: f").removeprefix(HEAD),
            None,
            "501 steps",
            id="501 with finally",
        ),
        pytest.param(steps(500, "    needs: [s{next}]\n"), (5, 13), "circle", id="circle of 500"),
        pytest.param(HEAD + '  - id: a\n    run: "\\0"\n', (4, 10), "U+0000", id="escaped NUL"),
        pytest.param(HEAD + "  - id: a\n    run: a\x00b\n", (4, 11), "U+0000", id="NUL"),
        pytest.param(HEAD + "  - id: a\n    run: a\x1b]0;x\x07\n", (4, 11), "U+001B", id="terminal escape"),
        pytest.param(HEAD + "  - id: a\x9b\n    run: x\n", (3, 10), "U+009B", id="C1 control"),
        pytest.param(HEAD + "  - id: a\n    run: x\n    workdir: ../../etc\n", (5, 14), "`..`", id="path upwards"),
        pytest.param("pipeline: p\n" + "a: 1\n" * 200_000, None, "already set", id="repeated keys"),
        pytest.param(
            HEAD + "  - {id: a, run: x, needs: [" + "b, " * 60_000 + "c]}\n", None, "at most 1000", id="many needs"
        ),
        pytest.param(
            "pipeline: p\nenv: {" + ", ".join(f"A{i}: '${{{{ x{i} }}}}'" for i in range(30_000)) + "}\n",
            None,
            "at most 1000",
            id="many variables",
        ),
        pytest.param(
            HEAD + '  - id: a\n    run: "' + "${{ node.name }}" * 60_000 + '"\n',
            None,
            "60000 expressions",
            id="long script",
        ),
        pytest.param(
            steps(500, run='"' + "${{ node.name }}" * 100 + '"'), None, "2000 expressions", id="expressions in scripts"
        ),
        pytest.param(steps(100, "    if: " + "1+" * 950 + "1\n"), None, "characters", id="long expressions"),
        pytest.param(steps(500, "    timeout: x\n    foo: 1\n    bar: 2\n"), None, "unknown key", id="1,500 mistakes"),
        pytest.param(
            HEAD + "".join(f'  - id: a\n    run: "{"$((" * 20_000}${{{{ x }}}}"\n' for _ in range(16)),
            None,
            "already used",
            id="shell nesting",
        ),
        pytest.param("x" * 2_000_000, (1, 1), "1 MiB", id="2 MB"),
        pytest.param(
            HEAD + f"  - {{id: {'x' * 5000}, run: [a], shell: {'y' * 5000}, needs: {'x' * 5000}, {'z' * 900}: 1}}\n",
            None,
            "needs itself",
            id="long names",
        ),
        pytest.param("a: " + "9" * 1_000_000, (1, 4), "too many digits", id="huge number"),
        pytest.param("pipeline: p\ntimeout: " + "9" * 39 + "\n", None, "not a duration", id="huge duration"),
        pytest.param("pipeline: p\nrequires: {memory: 1" + "0" * 300 + "g}\n", None, "not a size", id="huge size"),
        pytest.param("? " * 100_000, None, "64 levels", id="question marks"),
        pytest.param("%TAG ! x\n" * 50_000, None, "not YAML", id="directives"),
        pytest.param(
            "pipeline: p\ntargets: {select: '" + "a," * 400_000 + "'}\n", None, "characters", id="long selector"
        ),
        pytest.param(
            "pipeline: p\nparams:\n" + "".join(f"  a{i}: {{tpe: x}}\n" for i in range(20_000)),
            None,
            "at most 1000",
            id="many parameters",
        ),
    ],
)
def test_a_hostile_file_is_refused_in_time(text: str, place: tuple[int, int] | None, words: str) -> None:
    load_pipelines("pipeline: warm\nsteps: [{id: a, run: x, if: 1 + 1}]\n", "warm.yaml")
    started = time.process_time()
    with pytest.raises(InvalidPipeline) as caught:
        load_pipelines(text, "p.yaml")
    assert time.process_time() - started < 1.0
    problems = caught.value.problems
    about = [problem for problem in problems if words in problem.message]
    assert about, problems[:5]
    assert len(problems) <= MAX_PROBLEMS + 1
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert all(len(problem.message) < 1000 for problem in problems)
    if place:
        assert (about[0].line, about[0].column) == place


def test_a_large_good_file_loads_in_time() -> None:
    text = steps(500, "    if: ${{{{ node.name != 'x{i}' }}}}\n    env: {{A: \"${{{{ node.name }}}}\"}}\n")
    started = time.process_time()
    (loaded,) = load_pipelines(text, "p.yaml")
    assert time.process_time() - started < 1.0
    assert len(loaded.spec.steps) == 500

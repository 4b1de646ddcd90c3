"""Whatever is in a file, it loads and compiles, or every problem has a place in it."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gamenode_pipelines.authoring import to_yaml
from gamenode_pipelines.compile import compile_plan
from gamenode_pipelines.errors import GameNodeError, InvalidPipeline
from gamenode_pipelines.library import shipped
from gamenode_pipelines.load import load_pipelines

GOOD = """\
pipeline: deploy
params:
  port: {type: integer, default: 27960, min: 1024, max: 65535}
  mode: {type: choice, values: [ffa, ctf], default: ffa}
  wait: {type: duration, default: 5s, max: 1h}
env: {TZ: UTC, N: 0.10}
targets: {select: "role=game,!legacy", count: 2}
requires: {cpus: 1, memory: 512m}
timeout: 15m
on_lost: retry
steps:
  - id: one
    run: |
      echo "map=${{ params.mode }}" >> "$GAMENODE_OUTPUT"
    env: {MODE: "${{ params.mode }}"}
    limits: {cpus: 0.5, memory: 64MiB}
    retry: {attempts: 3, on: [exit, timeout]}
    stop: {signal: SIGINT, grace: 0}
  - id: two
    needs: [one]
    if: ${{ node.labels.region == "eu" }}
    run: [ls, "${{ steps.one.outputs.map }}"]
  - id: three
    uses: container.run
    with:
      name: oa-${{ params.port }}
      image: oa
      command: serve --map '${{ params.mode }}' ${{ params.port }}
      ports: ["${{ params.port }}:27960/udp", 28000-28001:1-2]
      resources: {memory: 512m, ulimits: {nofile: "1024:4096"}}
      healthcheck: {test: [alive], interval: 5s}
finally:
  - id: tell
    run: echo "${{ task.state }}"
"""
# fmt: off
PIECES = st.sampled_from([
    "", " ", "\n", ": ", "- ", "[", "]", "{", "}", "'", "\"", "#", "${{", "}}", "${{ x }}", "|", ">",
    "null", "true", "5", "-1", "1e999", ".nan", "*", "&", "!", "~", "on",
    "\t", "\r", "\0", "é", "\ud800", "..", "a: b\n", "  ",
])
# fmt: on


@st.composite
def broken(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from([GOOD, *shipped().values()]))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(PIECES) + text[end:]
    return text


@settings(max_examples=400, deadline=None)
@given(broken())
@example("pipeline: p\nsteps: [{id: a, run: x}]\nparams: {a: {type: integer, default: 1e999}}\n")
def test_a_damaged_file_is_read_or_refused(text: str) -> None:
    try:
        loaded = load_pipelines(text, "p.yaml")
    except InvalidPipeline as error:
        problems = error.problems
    else:
        problems = tuple(problem for pipeline in loaded for problem in pipeline.warnings)
        for pipeline in loaded:
            assert load_pipelines(to_yaml(pipeline.spec), "again.yaml")[0].spec == pipeline.spec
            try:
                compile_plan(pipeline.spec, {}, version=1)
            except GameNodeError as error:
                missing = set(error.details)
                assert missing <= {parameter.name for parameter in pipeline.spec.parameters if parameter.required}
    lines = text.count("\n") + text.count("\r") + 1
    for problem in problems:
        assert 1 <= problem.line <= lines + 1
        assert problem.column >= 1
        assert problem.message
        assert len(problem.message) < 1000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        load_pipelines(data, "p.yaml")
    except InvalidPipeline as error:
        problems = error.problems
    else:
        problems = ()
    assert all(problem.line >= 1 for problem in problems)

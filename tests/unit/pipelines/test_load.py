"""Loading pipeline files: what is accepted, and what is said of everything else."""

from __future__ import annotations

import pytest

from gamenode_pipelines.errors import Code, InvalidPipeline
from gamenode_pipelines.load import LoadedPipeline, load_pipelines
from gamenode_pipelines.plan import OnLost, RetryOn


def load(text: str) -> LoadedPipeline:
    (loaded,) = load_pipelines(text, "p.yaml")
    return loaded


def problems(text: str | bytes) -> list[str]:
    """What is wrong with a file, each as `line:column: message; did you mean …`; warnings begin with `warning:`."""
    with pytest.raises(InvalidPipeline) as caught:
        load_pipelines(text, "p.yaml")
    assert caught.value.code is Code.INVALID_ARGUMENT
    return [str(problem).removeprefix("p.yaml:") for problem in caught.value.problems]


FULL = """\
pipeline: deploy
description: Everything there is
params:
  image: {type: string, default: "gn/openarena:0.8.8"}
  port: {type: integer, default: 27960, min: 1024, max: 65535}
  mode: {type: choice, values: [ffa, ctf], default: ffa}
  rate: {type: number, min: 0.5}
  dry: {type: boolean, default: false}
  wait: {type: duration, default: 5s, max: 1h}
  room: {type: size, default: 1.5g}
env: {TZ: UTC, LANG: C, N: 0.10, ON: on}
targets: {select: "role=game,!legacy", count: 2}
requires: {cpus: 1, memory: 512m, disk: 1g}
timeout: 15m
on_lost: retry
steps:
  - id: one
    run: echo "map=$(date +%s)" >> "$GAMENODE_OUTPUT"
    shell: bash
    workdir: sub/${{ params.mode }}
    user: games
    env: {MODE: "${{ params.mode }}"}
    limits: {cpus: 0.5, memory: 64MiB, pids: 20, file_size: 1g, open_files: 64, output: 10m}
    timeout: 60s
    retry: {attempts: 3, backoff: 1s, max_backoff: 30s, on: [exit, timeout, lost]}
    stop: {signal: SIGINT, grace: 0}
    idempotent: true
    continue_on_error: true
  - id: two
    needs: []
    if: ${{ node.labels.region == "eu" }}
    run: [ls, -l, "${{ steps.one.outputs.map }}"]
finally:
  - id: tell
    run: echo "${{ task.state }} ${{ steps.one.outputs.map }}"
"""


def test_every_key_is_read() -> None:
    loaded = load(FULL)
    spec = loaded.spec
    assert (loaded.name, loaded.text, spec.name, spec.description) == ("deploy", FULL, "deploy", "Everything there is")
    assert spec.env == {"TZ": "UTC", "LANG": "C", "N": "0.10", "ON": "on"}
    assert spec.targets
    assert (spec.targets.select, spec.targets.count) == ("role=game,!legacy", 2)
    assert spec.requires
    assert (spec.requires.cpus, spec.requires.memory, spec.requires.disk) == (1.0, 512 * 1024**2, 1024**3)
    assert (spec.timeout, spec.on_lost) == (900.0, OnLost.RETRY)
    one, two = spec.steps
    assert (one.shell, one.user, one.timeout, one.idempotent, one.continue_on_error) == (
        "bash",
        "games",
        60.0,
        True,
        True,
    )
    assert one.limits
    assert (one.limits.cpus, one.limits.memory, one.limits.pids, one.limits.output) == (
        0.5,
        64 * 1024**2,
        20,
        10 * 1024**2,
    )
    assert one.retry
    assert (one.retry.attempts, one.retry.on) == (3, frozenset({RetryOn.EXIT, RetryOn.TIMEOUT, RetryOn.LOST}))
    assert one.stop
    assert (one.stop.signal, one.stop.grace) == ("INT", 0.0)
    assert two.needs == ()
    assert two.run == ("ls", "-l", "${{ steps.one.outputs.map }}")
    assert two.if_ == '${{ node.labels.region == "eu" }}'
    assert [step.id for step in spec.finally_] == ["tell"]
    assert spec.rollout is None


def test_parameters_are_typed() -> None:
    parameters = {parameter.name: parameter for parameter in load(FULL).spec.parameters}
    assert parameters["port"].default == 27960
    assert (parameters["port"].min, parameters["port"].max) == (1024, 65535)
    assert parameters["mode"].choices == ("ffa", "ctf")
    assert (parameters["rate"].required, parameters["rate"].default) == (True, None)
    assert parameters["dry"].default is False
    assert (parameters["wait"].default, parameters["wait"].max) == (5.0, 3600.0)
    assert parameters["room"].default == 1536 * 1024**2


def test_the_two_step_two_warning_is_about_order() -> None:
    assert [str(warning) for warning in load(FULL).warnings] == [
        "p.yaml:32:20: warning: step 'one' may not have ended when this is read, and is empty then; add it to `needs`"
    ]


STEP = "pipeline: p\nsteps:\n  - id: a\n    run: x\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the outer shape
        ("", "1:1: the file holds no pipeline"),
        ("# nothing\n---\n", "1:1: the file holds no pipeline"),
        ("- a\n", "1:1: a pipeline is a mapping"),
        ("steps: [{id: a, run: x}]\n", "1:1: `pipeline` is missing, like `pipeline: my-pipeline`"),
        ("pipeline: p\n", "1:1: `steps` is missing: a list"),
        ("pipeline: p\nsteps: []\n", "2:1: `steps` is empty"),
        ("pipeline: p\nsteps: {a: b}\n", "2:1: `steps` must be a list (each item begins with `- `), not a mapping"),
        ("pipeline: p\nsteps: [x]\n", "2:9: `steps` must be a mapping of keys to values, not a value"),
        ("pipeline: p\nsteps: [{run: x}]\n", "2:9: `id` is missing in a step"),
        ("pipeline: p\nsteps: [{id: a}]\n", "2:9: `run` is missing in a step"),
        (STEP + "    env:\n", "5:5: `env` has no value"),
        (STEP + "  -\n", "5:4: the item has no value"),
        ("pipeline: P\nsteps: [{id: a, run: x}]\n", "1:11: `pipeline` 'P' cannot be a pipeline's name"),
        # unknown keys
        (STEP + "descripton: x\n", "5:1: unknown key 'descripton'; did you mean 'description'?"),
        (STEP + "zzz: x\n", "5:1: unknown key 'zzz'; there are pipeline, description, params"),
        (STEP + "    script: x\n", "5:5: unknown key 'script' in a step; did you mean 'run'?"),
        (STEP + "    depends_on: x\n", "5:5: unknown key 'depends_on' in a step; did you mean 'needs'?"),
        (STEP + "    retry: {attemps: 3}\n", "5:13: unknown key 'attemps' in `retry`; did you mean 'attempts'?"),
        (STEP + "params: {a: {typ: string}}\n", "5:14: unknown key 'typ' in parameter 'a'; did you mean 'type'?"),
        (STEP + "    if_: x\n", "5:5: unknown key 'if_' in a step; did you mean 'if'?"),
        (STEP + "on: [{event: node.ofline}]\n", "5:14: `event` 'node.ofline'"),
        (STEP + "on: [{event: instance.crash_loop}]\n", "5:14: not yet: `instance.crash_loop`"),
        (STEP + "on: [{event: run.failed}]\n", "5:6: `on` with `run.failed` needs `pipeline`"),
        (STEP + "on: [{event: node.offline, pipeline: q}]\n", "5:6: `on` takes `pipeline` for events of runs only"),
        (STEP + "on: [{event: schedule.missed}]\n", "5:6: `schedule.missed` is about no node"),
        (
            STEP + "on: [{event: node.offline, params: {x: 1}}]\n",
            "5:6: parameter 'x': pipeline 'p' has no such parameter; it has none",
        ),
        (STEP + "on: [{event: task.failed, pipeline: p}]\n", "5:6: the pipeline would start itself"),
        # the fleet
        (STEP + "rollout: {max_parallel: 0}\n", "5:25: `max_parallel` must be between 1 and 100000, not 0"),
        (
            STEP + "rollout: {canary: 120%}\n",
            "5:19: `canary` must be a number of nodes like 2, or a percentage like 25%",
        ),
        (STEP + "rollout: {order: players}\n", "5:18: not yet: `order: players`"),
        (STEP + "rollout: {order: loda}\n", "5:18: `order` 'loda'"),
        (STEP + "rollout: {paralel: 2}\n", "5:11: unknown key 'paralel' in `rollout`"),
        (STEP + "concurrency: {on_conflict: queue}\n", "5:1: `group` is missing in `concurrency`"),
        (STEP + "concurrency: {group: ''}\n", "5:22: `group` is empty"),
        (STEP + 'concurrency: {group: "a-${{ steps.a.state }}"}\n', "5:25: `steps` is not known before a run begins"),
        (STEP + 'concurrency: {group: "a-${{ params.x }}"}\n', "5:25: there is no parameter 'x'"),
        (STEP + 'approval: {message: "to ${{ node.name }}"}\n', "5:25: `node` is not known before a run begins"),
        (STEP + "approval: {by: viewer}\n", "5:16: `by` 'viewer'"),
        (STEP + "files: [../a]\n", "5:1: `files` '../a' must be the path of a file beside"),
        (STEP + "files: [a, a]\n", "5:1: `files` names a file twice"),
        (STEP + "params: {a: {type: secret}}\n", "5:20: not yet: secret parameters"),
        (STEP + "    if: ${{ instance.name == 'x' }}\n", "5:9: not yet: `instance` in expressions"),
        # values
        (STEP + "timeout: soon\n", "5:10: `timeout` 'soon' is not a duration"),
        (STEP + "timeout: 0s\n", "5:10: `timeout` must be more than 0"),
        (
            STEP + "timeout: ${{ params.x }}\n",
            "5:10: `timeout` must be a duration like 90s; expressions are not allowed here",
        ),
        (STEP + "on_lost: retrie\n", "5:10: `on_lost` 'retrie' is none of wait, fail and retry; did you mean 'retry'?"),
        (STEP + "targets: {select: 'a in ('}\n", "5:26: `select` selector 'a in (', at character 7"),
        (STEP + "targets: {count: 0}\n", "5:18: `count` must be `all` or a number"),
        (STEP + "requires: {memory: 5x}\n", "5:20: `memory` '5x' is not a size"),
        (STEP + "requires: {cpus: .nan}\n", "5:18: `cpus` must be a number of cores"),
        (STEP + "    idempotent: 'yes'\n", "5:17: `idempotent` must be true or false"),
        (STEP + "    idempotent: yes\n", "5:17: `idempotent` must be true or false"),
        (STEP + "    shell: zsh\n", "5:12: `shell` 'zsh' is none of sh, bash, python and none; did you mean 'sh'?"),
        (STEP + "    stop: {signal: FOO}\n", "5:20: `signal` 'FOO' is none of the signals"),
        (STEP + "    retry: {attempts: 0}\n", "5:23: `attempts` must be between 1 and 100, not 0"),
        (STEP + "    retry: {on: exitt}\n", "did you mean 'exit'?"),
        (STEP + "    retry: {on: lost}\n", "5:17: a lost step may have run"),
        (STEP + "    limits: {pids: many}\n", "5:20: `pids` must be a whole number"),
        (STEP + "    env: {1A: x}\n", "'1A' cannot be the name of an environment variable"),
        (STEP + "    env: {GAMENODE_X: x}\n", "5:11: variables that begin with GAMENODE_ are the agent's own"),
        (STEP + "    env: [a]\n", "5:5: `env` must be a mapping"),
        (STEP + "    workdir: ../../etc\n", "5:14: the path '../../etc' has `..` in it"),
        (STEP + "    workdir: /srv/${{ node.name }}/../x\n", "has `..` in it"),
        ("pipeline: p\nsteps: [{id: A-b, run: x}]\n", "2:14: `id` 'A-b' cannot be a step's id"),
        ("pipeline: p\nsteps: [{id: a, run: ''}]\n", "2:22: `run` is empty"),
        ("pipeline: p\nsteps: [{id: a, run: {b: c}}]\n", "`run` must be text, not a mapping"),
        ("pipeline: p\nsteps: [{id: a, run: [ls], shell: sh}]\n", "2:22: a list is a command without a shell"),
        ("pipeline: p\nsteps: [{id: a, run: ls, shell: none}]\n", "2:22: with `shell: none` the command is a list"),
        # parameters
        (STEP + "params: {a: 5}\n", "5:13: `a` must be a mapping"),
        (STEP + "params: {a: {type: choise}}\n", "'choise' is none of string, integer"),
        (STEP + "params: {a: {type: choice}}\n", "a choice needs its values"),
        (STEP + "params: {a: {type: choice, values: [x, y], default: z}}\n", "'z' is none of x and y"),
        (STEP + "params: {a: {type: choice, values: [x, x]}}\n", "has a value twice"),
        (STEP + "params: {a: {values: [x]}}\n", "a string has no values"),
        (STEP + "params: {a: {min: 3}}\n", "a string has no min"),
        (STEP + "params: {a: {type: integer, min: 3, max: 2}}\n", "must not be less than min"),
        (STEP + "params: {a: {type: integer, max: 2, default: 3}}\n", "5:46: `default` 3 is more than 2"),
        (STEP + "params: {a: {type: duration, min: 1m, default: 3s}}\n", "`default` 3s is less than 1m"),
        (STEP + "params: {a: {type: integer, default: x}}\n", "'x' is not a whole number"),
        (STEP + "params: {a: {default: '${{ node.name }}'}}\n", "expressions are not allowed in a default"),
        (STEP + "params: {a-b: {}}\n", "'a-b' cannot be a parameter's name"),
        # names and order
        (STEP + "  - id: a\n    run: x\n", "5:9: the id 'a' is already used in line 3"),
        (STEP + "finally: [{id: a, run: x}]\n", "5:16: the id 'a' is already used in line 3"),
        (STEP + "    needs: [b]\n", "5:13: there is no step 'b'"),
        (STEP + "    needs: a\n", "5:12: step a needs itself"),
        (
            STEP + "  - id: build\n    run: x\n    needs: [biuld]\n",
            "7:13: there is no step 'biuld'; did you mean 'build'?",
        ),
        (STEP + "    needs: b\n  - id: b\n    run: x\n", "5:12: steps wait for each other in a circle: a → b → a"),
        (STEP + "finally: [{id: z, needs: a, run: x}]\n", "'a' is one of `steps`"),
        (STEP + "    needs: z\nfinally: [{id: z, run: x}]\n", "'z' is one of `finally`"),
        # expressions and scripts
        (
            'pipeline: p\nsteps:\n  - id: a\n    run: |\n      hi\n      echo "${{ params.x }}"\n',
            "6:13: there is no parameter 'x'",
        ),
        (STEP + "    if: ${{ params.x }} == 1\n", "5:9: the condition must be inside one ${{ }}"),
        (STEP + "    if: params.x == 1\n", "5:9: there is no parameter 'x'"),
        (STEP + '    env: {A: "x ${{ 1 + }}"}\n', "5:17: it ends too early"),
        (STEP + "    user: ${{ usr }}\n", "5:11: there is no 'usr' here"),
        (STEP + 'env: {A: "${{ env.A }}"}\n', "there is no environment variable of the pipeline 'A'"),
        (STEP + "    env: {A: ${{ node.name }}}\n", "5:15: not YAML"),
        (
            "pipeline: p\nsteps:\n  - id: a\n    run: echo ${{ 'a # b' }}\n",
            "4:15: the ${{ has no }}; if the expression has ` #`",
        ),
        (
            "pipeline: p\nsteps:\n  - id: a\n    run: echo '${{ node.name }}'\n",
            "4:16: the shell expands nothing in single quotes",
        ),
        (
            'pipeline: p\nsteps:\n  - id: a\n    shell: python\n    run: print("${{ node.name }}")\n',
            "5:17: an expression cannot stand in python",
        ),
        # bytes
        (b"pipeline: p\nsteps: \xff", "2:8: the byte 0xff is not UTF-8"),
        (b"a: \xf0\x9f\x8e", "1:4: the byte 0xf0 is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(text: str | bytes, expected: str) -> None:
    found = [problem for problem in problems(text) if "warning" not in problem]
    assert len(found) == 1, found
    assert expected in found[0], found
    if expected[1:2] == ":":
        assert found[0].startswith(expected)


def test_everything_is_reported_at_once_in_the_order_of_the_file() -> None:
    text = (
        'pipeline: P\nzzz: 1\ntimeout: x\nsteps:\n  - id: a\n    run: echo "${{ params.x }}"\n    foo: 1\n'
        "  - id: a\n    needs: [q]\n    run:\n"
    )
    lines = [int(problem.partition(":")[0]) for problem in problems(text)]
    assert lines == [1, 2, 3, 6, 7, 8, 9, 10]


def test_a_bare_duration_is_a_warning() -> None:
    text = (
        STEP.replace("run: x", "run: x\n    timeout: 10\n    stop: {grace: 5}")
        + "timeout: 90\nparams: {a: {type: duration, default: 5}}\n"
    )
    assert [str(warning).partition(": ")[2] for warning in load(text).warnings] == [
        f"warning: a duration without a unit is read as seconds; write {seconds}s" for seconds in (90, 5, 10, 5)
    ]


def test_an_unquoted_expression_is_a_warning() -> None:
    assert [
        "splits the value" in str(w) for w in load(STEP.replace("run: x", "run: echo ${{ node.name }}")).warnings
    ] == [True]


def test_plain_values_keep_their_characters_where_text_is_wanted() -> None:
    spec = load(STEP.replace("run: x", "run: true") + "description: 1.0\nparams: {v: {default: 0.10}}\n").spec
    assert (spec.steps[0].run, spec.description, spec.params["v"].default) == ("true", "1.0", "0.10")


def test_documents_are_pipelines_of_their_own() -> None:
    text = "# about a\npipeline: a\nsteps: [{id: x, run: y}]\n---\npipeline: b\n"
    text += "steps:\n  - id: x\n    run: y\n    timeout: 5\n"
    first, second = load_pipelines(text, "p.yaml")
    assert (first.name, second.name) == ("a", "b")
    assert first.text == "# about a\npipeline: a\nsteps: [{id: x, run: y}]\n"
    assert first.warnings == ()
    assert [warning.line for warning in second.warnings] == [9]
    for loaded in (first, second):
        assert load_pipelines(loaded.text, "q.yaml")[0].spec == loaded.spec
    assert problems(text.replace("pipeline: b", "pipeline: a")) == [
        "5:11: pipeline 'a' is already in line 2 of this file; rename one",
        "9:14: warning: a duration without a unit is read as seconds; write 5s",
    ]


def test_windows_files_load() -> None:
    assert load("\ufeff" + STEP.replace("\n", "\r\n")).spec == load(STEP).spec
    assert load_pipelines(b"\xef\xbb\xbf" + STEP.encode(), "p.yaml")[0].spec == load(STEP).spec


def test_finally_steps_come_one_after_the_other_and_see_all_steps() -> None:
    final = 'finally:\n  - id: b\n    run: echo "${{ steps.a.outputs.x }}"\n'
    assert load(STEP + final + '  - id: c\n    run: echo "${{ steps.b.state }}"\n').warnings == ()

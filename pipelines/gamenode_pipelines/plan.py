"""A compiled pipeline: what the agent executes, the same for every node of a run.

Plain data without behaviour. Made by `compile`, carried by the bundle, walked by the task machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Scalar = str | int | float | bool
#: A value of a step's `with`: a scalar, a list or a mapping of them.
Setting = Scalar | tuple["Setting", ...] | Mapping[str, "Setting"]


class OnLost(StrEnum):
    """What happens to a task whose attempt may have run when it was lost."""

    WAIT = "wait"
    FAIL = "fail"
    RETRY = "retry"


class RetryOn(StrEnum):
    """Kinds of failure a retry can be for."""

    EXIT = "exit"
    TIMEOUT = "timeout"
    LOST = "lost"
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When and how often a failed attempt is tried again. `attempts` counts the first one too; seconds."""

    attempts: int = 1
    backoff: float = 1.0
    max_backoff: float = 30.0
    on: frozenset[RetryOn] = frozenset({RetryOn.EXIT, RetryOn.TIMEOUT, RetryOn.RESOURCE})


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """How a running step is ended: the signal (without SIG), `grace` seconds, SIGKILL.

    With a command: that, and what still runs after `grace` seconds gets the signal, and SIGKILL a second later.
    """

    signal: str = "TERM"
    grace: float = 10.0
    command: Script | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step's processes may use together. Bytes, cores, counts; 0 means no limit."""

    cpus: float = 0.0
    memory: int = 0
    pids: int = 0
    file_size: int = 0
    open_files: int = 0
    output: int = 0

    def __bool__(self) -> bool:
        return self != _UNLIMITED


_UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Script:
    """What a `run:` step executes.

    `text` never contains an expression's value: `bindings` maps the environment variables it refers to onto the
    expressions (without `${{ }}`) whose values they get. With `shell == "none"`, `argv` is the command, its
    elements templates.
    """

    shell: str = "sh"
    text: str = ""
    argv: tuple[str, ...] = ()
    bindings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step as the agent executes it. `env`, `workdir`, `user` and `Script.argv` are templates.

    `needs` is always explicit here: the file's default (the step before) is filled in. `condition` is an expression
    without `${{ }}`; empty means always.
    """

    id: str
    kind: str = "run"
    needs: tuple[str, ...] = ()
    condition: str = ""
    script: Script | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    user: str = ""
    limits: Limits = _UNLIMITED
    timeout: float = 0.0
    retry: RetryPolicy = RetryPolicy()
    stop: StopPolicy = StopPolicy()
    idempotent: bool = False
    continue_on_error: bool = False
    #: What the kind's fields were given (`kinds`); texts are templates. Empty for `run`.
    with_: Mapping[str, Setting] = field(default_factory=dict)
    #: The step of kind `GROUP` whose part it is; empty for a step that stands for itself.
    group: str = ""
    #: The step that it is for the failure of: it runs when that one has failed, else it is skipped.
    after_failure: str = ""

    @property
    def scope(self) -> str:
        """The inlined pipeline it comes from, by its key in `Plan.scopes`; empty for the pipeline's own steps.

        A step with a scope and without a group is of an inlined pipeline's `finally`.
        """
        return self.id.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter of an inlined pipeline. One with an expression is known on the node only, and checked there."""

    name: str
    value: Scalar
    type: str = "string"
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Inlined:
    """What the expressions of an inlined pipeline's steps see, and which version of it was inlined.

    `env` is its own, `given_env` what the step says that names it, in the words of the pipeline around.
    """

    pipeline: str
    version: int
    arguments: tuple[Argument, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    given_env: Mapping[str, str] = field(default_factory=dict)


#: The kind of a step that stands for the steps of an inlined pipeline: it is carried out by the task machine itself.
GROUP = "pipeline"

#: Kinds of steps that only wait: a task that does nothing else takes no slot of its node.
IDLE = frozenset({"approve", "game.gate"})

#: A pipeline that names no timeout gets this one; seconds.
DEFAULT_TIMEOUT = 3600.0
#: What `finally` may take in all; seconds.
DEFAULT_FINALLY_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline compiled for one set of parameters."""

    pipeline: str
    version: int
    steps: tuple[StepPlan, ...]
    finally_: tuple[StepPlan, ...] = ()
    params: Mapping[str, Scalar] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = DEFAULT_TIMEOUT
    finally_timeout: float = DEFAULT_FINALLY_TIMEOUT
    on_lost: OnLost = OnLost.WAIT
    #: The inlined pipelines by the ids of the steps that stand for them.
    scopes: Mapping[str, Inlined] = field(default_factory=dict)

    def step(self, step_id: str) -> StepPlan:
        """The step of this id, `finally` included; raises KeyError."""
        for step in (*self.steps, *self.finally_):
            if step.id == step_id:
                return step
        raise KeyError(step_id)


def surely_run(plan: Plan) -> Iterator[StepPlan]:
    """The steps that run where nothing fails: none that is for a failure, or that a condition may skip."""
    unsure: set[str] = set()
    for step in (*plan.steps, *plan.finally_):
        if step.condition or step.after_failure or step.group in unsure or step.scope in unsure:
            unsure.add(step.id)
        else:
            yield step

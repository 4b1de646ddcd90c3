"""What a pipeline file may say: the outer shape of the model.

Checks every value by itself (`spec_values`); what needs two places of a file, names that refer to each other,
expressions and scripts, is `lint`'s. Knows nothing of YAML.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)

from gamenode_pipelines import spec_steps as steps
from gamenode_pipelines import spec_values as check
from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA
from gamenode_pipelines.parameters import Parameter, ParamType
from gamenode_pipelines.plan import OnLost, RetryOn, Scalar
from gamenode_pipelines.spec_fleet import ApprovalSpec, ConcurrencySpec, RolloutSpec
from gamenode_pipelines.spec_schedule import ScheduleSpec, as_list
from gamenode_pipelines.spec_trigger import TriggerSpec
from gamenode_pipelines.spec_trigger import as_list as triggers_as_list
from gamenode_pipelines.spec_values import Cpus, Duration, Env, Flag, Pause, Size, StepId, Text

MAX_STEPS: Final = 500
PARAM_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
_SCALAR_SCHEMA: Final = WithJsonSchema(SCALAR_SCHEMA)
_COUNT_SCHEMA: Final = WithJsonSchema({"type": "integer", "minimum": 1})


class Model(BaseModel):
    """A part of a pipeline file: unknown keys are errors, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, hide_input_in_errors=True)


class ParamSpec(Model):
    """A value that whoever starts a run can give."""

    type: Annotated[ParamType, check.one_of(ParamType, {"secret": "secret parameters"})] = Field(
        ParamType.STRING, description="What values it takes; `string` where it is left out."
    )
    description: Text = Field("", description="One line for forms and help.")
    min: Annotated[float | None, _SCALAR_SCHEMA] = Field(
        None, description="Smallest value of a number, duration or size."
    )
    max: Annotated[float | None, _SCALAR_SCHEMA] = Field(
        None, description="Largest value of a number, duration or size."
    )
    values: Annotated[tuple[Text, ...], BeforeValidator(check.texts)] = Field((), description="What a `choice` can be.")
    default: Annotated[Scalar | None, _SCALAR_SCHEMA] = Field(
        None, description="The value where none is given; without it the parameter must be given."
    )

    @field_validator("min", "max", mode="before")
    @classmethod
    def _bounds(cls, value: object, info: ValidationInfo) -> object:
        type = info.data.get("type")
        if type is None:
            return None
        if not type.ordered:
            raise ValueError(f"a {type} has no {info.field_name}")
        bound = check.converted(type, value)
        if info.field_name == "max" and (low := info.data.get("min")) is not None and float(bound) < low:
            raise ValueError("must not be less than min")
        return bound

    @field_validator("values", mode="after")
    @classmethod
    def _choices(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("type", ParamType.CHOICE) is not ParamType.CHOICE:
            raise ValueError(f"a {info.data['type']} has no values; `type: choice` has")
        if not values:
            raise ValueError("is empty; a choice needs at least one value")
        if len(set(values)) < len(values):
            raise ValueError("has a value twice")
        return values

    @field_validator("default", mode="before")
    @classmethod
    def _default(cls, value: object, info: ValidationInfo) -> object:
        data = info.data
        if not {"type", "min", "max", "values"} <= data.keys():
            return None  # what is wrong there is reported already
        if data["type"] is ParamType.CHOICE and not data["values"]:
            return None  # reported by `_complete`
        if "${{" in str(value):
            raise ValueError("expressions are not allowed in a default")
        parameter = Parameter("", data["type"], choices=data["values"], min=data["min"], max=data["max"])
        return parameter.convert(check.converted(data["type"], value))

    @field_serializer("min", "max", "default", when_used="json")
    def _spelled(self, value: object) -> object:
        return check.spelled(self.type, value)

    @model_validator(mode="after")
    def _complete(self) -> ParamSpec:
        if self.type is ParamType.CHOICE and not self.values:
            raise ValueError("a choice needs its values, like `values: [ffa, ctf]`")
        return self


class RetrySpec(Model):
    """When and how often a failed attempt is tried again."""

    attempts: Annotated[int, check.whole(1, 100), _COUNT_SCHEMA] = Field(
        3, description="Attempts in all, the first one included."
    )
    backoff: Pause = Field(1.0, description="Delay before the second attempt; doubles each time.")
    max_backoff: Pause = Field(30.0, description="Longest delay between two attempts.")
    on: Annotated[
        frozenset[Annotated[RetryOn, check.one_of(RetryOn)]],
        BeforeValidator(check.retry_kinds),
        PlainSerializer(sorted, when_used="json"),
    ] = Field(
        frozenset({RetryOn.EXIT, RetryOn.TIMEOUT, RetryOn.RESOURCE}),
        description="The kinds of failure it is for. `lost` needs an idempotent step.",
    )


class StopSpec(Model):
    """How a running step is ended: a command, where there is one, the signal, then SIGKILL."""

    signal: Annotated[
        str,
        BeforeValidator(check.signal),
        WithJsonSchema({"enum": [*check.SIGNALS, *("SIG" + s for s in check.SIGNALS)]}),
    ] = Field("TERM", description="The first signal, without SIG or with it.")
    grace: Pause = Field(10.0, description="How long the step may take to end after it, or after the command.")
    command: Annotated[str | tuple[str, ...] | None, BeforeValidator(check.run)] = Field(
        None, description="What ends it by its own means; the signal comes where it still runs after `grace`."
    )

    @model_validator(mode="after")
    def _has_time(self) -> StopSpec:
        if self.command is not None and not self.grace:
            raise ValueError("has a command and no time for it; give it a `grace`")
        return self


class LimitsSpec(Model):
    """What a step's processes may use together."""

    cpus: Cpus | None = Field(None, description="Cores.")
    memory: Size | None = Field(None, description="Memory.")
    pids: Annotated[int, check.whole(1, 4_194_304), _COUNT_SCHEMA] | None = Field(
        None, description="Processes and threads."
    )
    file_size: Size | None = Field(None, description="Size of each file it writes.")
    open_files: Annotated[int, check.whole(1, 1_048_576), _COUNT_SCHEMA] | None = Field(
        None, description="Open files of each process."
    )
    output: Size | None = Field(
        None, description="Output after which the step is stopped; without it, output is only cut."
    )


class TargetsSpec(Model):
    """Which nodes a run is for, where the command line does not narrow it."""

    select: Annotated[str, BeforeValidator(check.select)] = Field(
        "", description="A label selector, like `role=game,!legacy`."
    )
    count: Annotated[int | Literal["all"], BeforeValidator(check.count)] = Field(
        "all", description="`all`, or how many of the nodes: the best placed ones."
    )


class RequiresSpec(Model):
    """What a node must have free to be chosen."""

    cpus: Cpus | None = Field(None, description="Cores.")
    memory: Size | None = Field(None, description="Free memory.")
    disk: Size | None = Field(None, description="Free disk space.")


class StepSpec(Model):
    """One step: a command or script on the node (`run`), or something that the agent does (`uses`)."""

    id: StepId = Field(description="Its name in this pipeline; expressions say `steps.ID`.")
    needs: Annotated[tuple[str, ...] | None, BeforeValidator(check.needs)] = Field(
        None, description="Steps that must have ended well before; left out: the step before; []: none."
    )
    if_: Text = Field("", alias="if", description="An expression; where it is false the step is skipped.")
    uses: Annotated[str, BeforeValidator(steps.kind), WithJsonSchema({"enum": list(KINDS)})] = Field(
        "", description="What is done, by name; `run` is for a script."
    )
    run: Annotated[str | tuple[str, ...] | None, BeforeValidator(steps.script)] = Field(
        None, validate_default=True, description="The script; with `shell: none` a list, the command and its arguments."
    )
    with_: Annotated[
        dict[str, Any], BeforeValidator(steps.settings), WithJsonSchema({"type": "object", "additionalProperties": {}})
    ] = Field(
        default_factory=dict,
        alias="with",
        validate_default=True,
        description="The fields of what `uses` names; `gamenode explain container.run` lists those of that kind.",
    )
    shell: Annotated[Literal["sh", "bash", "python", "none"], check.one_of(check.SHELLS)] | None = Field(
        None, description="What reads the script; `sh` where it is left out, `none` where `run` is a list."
    )
    workdir: Text = Field("", description="Where it runs; relative to the task's workspace.")
    user: Text = Field("", description="The user it runs as; left out: the agent's.")
    env: Env = Field(default_factory=dict, description="Environment variables of this step.")
    limits: LimitsSpec | None = Field(None, description="What its processes may use together.")
    timeout: Duration | None = Field(None, description="How long one attempt may take.")
    retry: RetrySpec | None = Field(None, description="When and how often a failed attempt is tried again.")
    stop: StopSpec | None = Field(None, description="How it is ended on cancel and timeout.")
    idempotent: Flag = Field(False, description="Whether running it twice does no harm.")
    continue_on_error: Flag = Field(False, description="Whether the task goes on, and can succeed, when it fails.")
    on_failure: tuple[StepSpec, ...] = Field(
        (), max_length=MAX_STEPS, description="Steps that run, in order, when it has failed; the task stays failed."
    )

    _own = field_validator("stop", mode="after")(steps.own_stop)
    _alone = field_validator("timeout", "retry", "stop", "idempotent", mode="before")(steps.not_with_pipeline)
    _only_run = field_validator("shell", "workdir", "user", "limits", mode="before")(steps.only_with_run)


class PipelineSpec(Model):
    """A pipeline: a template that runs are made from."""

    pipeline: Annotated[
        str,
        check.matching(
            check.PIPELINE_NAME, "cannot be a pipeline's name: 1 to 63 of a-z, 0-9 and -, no - at either end"
        ),
        WithJsonSchema({"type": "string", "pattern": f"^{check.PIPELINE_NAME}$"}),
    ] = Field(description="Its name.")
    description: Text = Field("", description="What it is for.")
    params: dict[
        Annotated[str, check.matching(PARAM_NAME, "cannot be a parameter's name: letters, digits and _")], ParamSpec
    ] = Field(default_factory=dict, description="Values that whoever starts a run can give.")
    env: Env = Field(default_factory=dict, description="Environment variables of every step.")
    targets: TargetsSpec | None = Field(None, description="Which nodes a run is for.")
    requires: RequiresSpec | None = Field(None, description="What a node must have free.")
    rollout: RolloutSpec | None = Field(None, description="How a run moves over its nodes.")
    concurrency: ConcurrencySpec | None = Field(None, description="What may not happen twice at once.")
    approval: ApprovalSpec | None = Field(None, description="Who must agree before a run begins.")
    files: Annotated[tuple[Text, ...], BeforeValidator(check.files)] = Field(
        (), description="Files beside this one that travel along, into the folder where steps work."
    )
    timeout: Duration | None = Field(None, description="How long a task may take, `finally` aside; left out: 1h.")
    schedule: Annotated[tuple[ScheduleSpec, ...], BeforeValidator(as_list)] = Field(
        (), description="When it starts by itself: one schedule, or a list of them."
    )
    on: Annotated[tuple[TriggerSpec, ...], BeforeValidator(triggers_as_list)] = Field(
        (), max_length=100, description="Events that start it: a list of triggers."
    )
    on_lost: Annotated[OnLost, check.one_of(OnLost)] = Field(
        OnLost.WAIT, description="What happens to a task whose step may have run when its node was lost."
    )
    steps: tuple[StepSpec, ...] = Field(min_length=1, max_length=MAX_STEPS, description="What is done, in order.")
    finally_: tuple[StepSpec, ...] = Field(
        (), alias="finally", max_length=MAX_STEPS, description="Runs at the end, however the steps ended."
    )

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.pipeline

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters in the order of the file."""
        return tuple(
            Parameter(
                name,
                param.type,
                description=param.description,
                required=param.default is None,
                default=param.default,
                choices=param.values,
                min=param.min,
                max=param.max,
            )
            for name, param in self.params.items()
        )

"""What a pipeline file may say of the events that start it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from gamenode_pipelines import spec_values as check
from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA
from gamenode_pipelines.spec_values import Pause, Text
from gamenode_pipelines.triggers import EVENTS, OF_NODES, OF_RUNS, Trigger
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import kind_of, text_of

_LATER: Final = {"instance.crash_loop": "`instance.crash_loop`; use `instance.gave_up`, when it is not restarted again"}


def _params(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping of names to values, not {kind_of(value)}")
    return {str(name): _text(str(name), item) for name, item in value.items()}


def _text(name: str, value: object) -> str:
    try:
        return text_of(value)
    except ValueError as error:
        raise ValueError(f"has {shown(name)}, which {error}") from error


class TriggerSpec(BaseModel):
    """An event that starts the pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, hide_input_in_errors=True)

    event: Annotated[str, check.one_of(EVENTS, _LATER), WithJsonSchema({"enum": list(EVENTS)})] = Field(
        description="Its type."
    )
    select: Annotated[str, BeforeValidator(check.select)] = Field(
        "", description="Labels of the node that it is about; left out: any node."
    )
    pipeline: Annotated[Text, check.matching(f"({check.PIPELINE_NAME})?", "cannot be a pipeline's name")] = Field(
        "", description="Whose run it is about; needed for events of runs."
    )
    params: Annotated[
        dict[str, str],
        BeforeValidator(_params),
        WithJsonSchema({"type": "object", "additionalProperties": SCALAR_SCHEMA}),
    ] = Field(default_factory=dict, description="Parameters of the run; expressions see the `event`.")
    cooldown: Pause = Field(60.0, description="How long the same node, or pipeline, starts nothing more.")

    @model_validator(mode="after")
    def _whose(self) -> TriggerSpec:
        if self.event in OF_RUNS and not self.pipeline:
            raise ValueError(f"with `{self.event}` needs `pipeline`: whose run it is about")
        if self.event not in OF_RUNS and self.pipeline:
            raise ValueError(f"takes `pipeline` for events of runs only, and `{self.event}` is not one")
        if self.select and self.event not in (*OF_NODES, "task.failed"):
            raise ValueError(f"takes `select` for events of nodes only, and `{self.event}` is not one")
        return self

    @property
    def trigger(self) -> Trigger:
        """The same without the file."""
        return Trigger(self.event, self.select, self.pipeline, dict(self.params), self.cooldown)


def as_list(value: object) -> Any:
    """A list of triggers; one may stand alone."""
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of triggers like [{{event: node.offline}}], not {kind_of(value)}")
    return list(value)

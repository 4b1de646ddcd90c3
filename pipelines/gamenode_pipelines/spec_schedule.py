"""What a pipeline file may say of when it starts by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from gamenode_pipelines import spec_values as check
from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA
from gamenode_pipelines.schedules import CatchUp, OnOverlap, Schedule
from gamenode_pipelines.spec_values import Flag
from gamenode_pipelines.wording import UnknownWord, shown
from gamenode_pipelines.written import kind_of, text_of

SCHEDULE_ID: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
#: The id of a schedule that stands alone and is given none.
ALONE: Final = "default"
_FIELDS: Final = 5


def _cron(value: object) -> str:
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    text = text_of(value)
    words = text.split()
    if len(words) != _FIELDS:
        raise ValueError(f"must be five fields (minute hour day month weekday), like `0 4 * * *`, not {shown(text)}")
    try:
        first = next(CronSim(text, datetime(2024, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise ValueError(f"{shown(text)} is no cron expression: {str(error).lower()}") from None
    if first is None:
        raise ValueError(f"{shown(text)} never comes")
    return " ".join(words)


def _timezone(value: object) -> str:
    from zoneinfo import ZoneInfo, available_timezones

    text = text_of(value)
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # no such key, a folder, or no name at all
        raise UnknownWord(text, available_timezones()) from None
    return text


def _params(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping of names to values, not {kind_of(value)}")
    found = {str(name): text_of(item) for name, item in value.items()}
    for name, text in found.items():
        if "${{" in text:
            raise ValueError(f"expressions are not allowed in the parameters of a schedule ({name})")
    return found


class ScheduleSpec(BaseModel):
    """When the pipeline starts by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, hide_input_in_errors=True)

    id: Annotated[
        str,
        check.matching(SCHEDULE_ID, "cannot be a schedule's id: 1 to 63 of a-z, 0-9 and -, no - at either end"),
        WithJsonSchema({"type": "string", "pattern": f"^{SCHEDULE_ID}$"}),
    ] = Field(ALONE, description="Its name within the pipeline; needed where there are several.")
    cron: Annotated[str, BeforeValidator(_cron)] = Field(description="Minute, hour, day, month and weekday.")
    timezone: Annotated[str, BeforeValidator(_timezone)] = Field("UTC", description="The time zone of `cron`.")
    catch_up: Annotated[CatchUp, check.one_of(CatchUp)] = Field(
        CatchUp.LATEST, description="Which of the starts that were missed happen later."
    )
    on_overlap: Annotated[OnOverlap, check.one_of(OnOverlap)] = Field(
        OnOverlap.SKIP, description="What happens with a start while the run before goes on."
    )
    params: Annotated[
        dict[str, str],
        BeforeValidator(_params),
        WithJsonSchema({"type": "object", "additionalProperties": SCALAR_SCHEMA}),
    ] = Field(default_factory=dict, description="Parameters of the run.")
    enabled: Flag = Field(True, description="Whether it starts anything.")

    @property
    def schedule(self) -> Schedule:
        """The same without the file."""
        return Schedule(
            self.id, self.cron, self.timezone, self.catch_up, self.on_overlap, dict(self.params), self.enabled
        )


def as_list(value: object) -> Any:
    """One schedule may stand alone; several are a list, each with an `id` of its own."""
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a schedule like {{cron: '0 4 * * *'}}, or a list of them, not {kind_of(value)}")
    return list(value)

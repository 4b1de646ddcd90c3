"""What a pipeline file may say of how its runs move over the fleet, and what holds them up."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from gamenode_pipelines import spec_values as check
from gamenode_pipelines.gates import Approval, Concurrency, OnConflict
from gamenode_pipelines.rollout import Order, RolloutPolicy, Share
from gamenode_pipelines.spec_values import Pause, Text
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import kind_of, text_of, value_of

#: Roles that can be asked to approve.
APPROVERS: Final = ("operator", "admin")
_MOST: Final = 100_000
_PERCENT: Final = re.compile(r"([1-9][0-9]?|100)%")
_PLAYERS: Final = "`order: players`; use `load`, which puts nodes with the least to do first"


def _share(value: object) -> Share:
    if isinstance(value, Share):
        return value
    plain = value_of(value)
    if isinstance(plain, str) and (match := _PERCENT.fullmatch(plain.strip())):
        return Share(int(match[1]), percent=True)
    if isinstance(plain, bool) or not isinstance(plain, int):
        said = kind_of(value) if not isinstance(plain, str) else shown(plain)
        raise ValueError(f"must be a number of nodes like 2, or a percentage like 25%, not {said}")
    if not 1 <= plain <= _MOST:
        raise ValueError(f"must be between 1 and {_MOST}, not {plain}")
    return Share(plain)


def _group(value: object) -> str:
    text = text_of(value).strip()
    if not text:
        raise ValueError('is empty; give what may not happen twice at once a name, like "deploy-${{ node.name }}"')
    return text


_Share = Annotated[
    Share,
    BeforeValidator(_share),
    PlainSerializer(lambda share: str(share) if share.percent else share.amount, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": _MOST},
                {"type": "string", "pattern": f"^{_PERCENT.pattern}$"},
            ]
        }
    ),
]
_CONFIG: Final = ConfigDict(extra="forbid", frozen=True, validate_default=False, hide_input_in_errors=True)


class RolloutSpec(BaseModel):
    """How a run moves over its nodes."""

    model_config = _CONFIG

    max_parallel: _Share | None = Field(
        None,
        description="Nodes at once, or a percentage of them; left out: all, or one where containers are stopped or "
        "replaced.",
    )
    max_failures: _Share = Field(
        Share(1), description="After so many failed nodes no further one begins.", json_schema_extra={"default": 1}
    )
    canary: _Share | None = Field(None, description="So many nodes first; the others when all of those have succeeded.")
    pause: Pause = Field(0.0, description="How long nothing begins after a node has ended.")
    order: Annotated[Order, check.one_of(Order, {"players": _PLAYERS})] = Field(
        Order.NAME, description="Which nodes come first: by name, the least busy, or by chance."
    )

    def policy(self, *, max_parallel: Share) -> RolloutPolicy:
        """The same without the file; `max_parallel` is what holds where it says nothing."""
        return RolloutPolicy(
            max_parallel if self.max_parallel is None else self.max_parallel,
            self.max_failures,
            self.canary or Share(0),
            self.pause,
            self.order,
        )


class ConcurrencySpec(BaseModel):
    """What may not happen twice at once."""

    model_config = _CONFIG

    group: Annotated[str, BeforeValidator(_group), WithJsonSchema({"type": "string", "minLength": 1})] = Field(
        description="Its name; with an expression that uses `node`, of each task, else of the run."
    )
    on_conflict: Annotated[OnConflict, check.one_of(OnConflict)] = Field(
        OnConflict.QUEUE,
        description="What happens to a run whose group is taken: it waits, is refused, or takes its place.",
    )

    @property
    def rule(self) -> Concurrency:
        """The same without the file."""
        return Concurrency(self.group, self.on_conflict)


class ApprovalSpec(BaseModel):
    """Who must agree before a run begins."""

    model_config = _CONFIG

    by: Annotated[str, check.one_of(APPROVERS), WithJsonSchema({"enum": list(APPROVERS)})] = Field(
        "operator", description="The role that it takes."
    )
    message: Text = Field("", description="To what; may hold expressions of `params`.")

    @property
    def rule(self) -> Approval:
        """The same without the file."""
        return Approval(self.by, self.message)

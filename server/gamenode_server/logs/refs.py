"""What a log is called and how it stands: one attempt of one step, in its run."""

from __future__ import annotations

from dataclasses import dataclass, field

from gamenode_pipelines.events import LogHole, LogSummary
from gamenode_proto.v1 import common_pb2, pipeline_management_pb2


@dataclass(frozen=True, slots=True)
class LogRef:
    """Whose output it is. The run is in it because logs are kept and deleted by run."""

    run_id: str
    task_id: str
    fence: int
    step_id: str
    attempt: int

    @classmethod
    def of(cls, run_id: str, ref: common_pb2.AttemptRef) -> LogRef:
        """The same from the wire, where the run goes without saying."""
        return cls(run_id, ref.task_id, ref.fence, ref.step_id, ref.attempt)

    def attempt_ref(self) -> common_pb2.AttemptRef:
        """The same for the wire."""
        return common_pb2.AttemptRef(task_id=self.task_id, fence=self.fence, step_id=self.step_id, attempt=self.attempt)


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How much of a log is here. `sha256` and `holes` are known once it has ended.

    `complete`: everything its agent has is here, and proven so. With holes that is not everything the step said: see
    `whole`.
    """

    ref: LogRef
    bytes: int = 0
    lines: int = 0
    #: Nothing more will come.
    ended: bool = False
    complete: bool = False
    sha256: str = ""
    holes: tuple[LogHole, ...] = field(default=())

    @property
    def whole(self) -> bool:
        """Whether this is all that the step said."""
        return self.complete and not self.holes

    def to_proto(self) -> pipeline_management_pb2.LogStatus:
        """The same for the wire."""
        return pipeline_management_pb2.LogStatus(
            ref=self.ref.attempt_ref(),
            bytes=self.bytes,
            lines=self.lines,
            complete=self.whole,
            sha256=self.sha256,
            holes=[common_pb2.LogHole(offset=h.offset, length=h.length, reason=h.reason) for h in self.holes],
        )


def ended_status(ref: LogRef, summary: LogSummary, *, complete: bool) -> LogStatus:
    """How a log stands that has ended as `summary` says."""
    return LogStatus(
        ref,
        bytes=summary.bytes,
        lines=summary.lines,
        ended=True,
        complete=complete,
        sha256=summary.sha256,
        holes=summary.holes,
    )

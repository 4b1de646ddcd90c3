"""The name of a log: one attempt of one step, in its run."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_proto.v1 import common_pb2


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

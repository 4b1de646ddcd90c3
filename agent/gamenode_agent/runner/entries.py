"""What the journal stores when a task has moved: its records, its row, its attempts. Pure."""

from __future__ import annotations

from gamenode_agent.journal import Attempt, AttemptRow, Entry, TaskRow
from gamenode_agent.runner.advance import Advance
from gamenode_pipelines.events import LogSummary, StepEnded, StepLost, StepStarted
from gamenode_proto.codec.work import log_summary_to_proto, task_event_to_proto, task_to_proto
from gamenode_proto.v1.agent_link_pb2 import OutboxRecord


def has_log(log: LogSummary) -> bool:
    """Whether there is anything to ship: a silent attempt has no log file, and its summary says all there is."""
    return bool(log.bytes or log.holes)


def entry_of(moved: Advance, *, digest: str, bundle: bytes | None, boot_id: str, now: float) -> Entry:
    """The entry for what happened, which is something. `bundle`, where there is one, is stored with it."""
    task = moved.task
    attempts: list[AttemptRow] = []
    dropped: list[Attempt] = []
    for event in moved.events:
        match event.body:
            case StepStarted(step_id, attempt):
                attempts.append(AttemptRow(Attempt(task.id, task.fence, step_id, attempt), boot_id))
            case StepEnded(step_id, attempt, log=log) | StepLost(step_id, attempt, log=log):
                key = Attempt(task.id, task.fence, step_id, attempt)
                if log is not None and has_log(log):
                    attempts.append(AttemptRow(key, boot_id, True, log_summary_to_proto(log).SerializeToString()))
                else:
                    dropped.append(key)
            case _:
                pass
    return Entry(
        at=now,
        records=[OutboxRecord(task_event=task_event_to_proto(event)) for event in moved.events],
        task=TaskRow(
            task_id=task.id,
            fence=task.fence,
            state=str(task.state),
            ended=moved.finished,
            digest="" if moved.finished else digest,
            # Of an assignment that is over only its number is needed: a late copy of it must be known as old.
            task=b"" if moved.finished else task_to_proto(task).SerializeToString(),
            updated_at=moved.events[-1].at,
        ),
        attempts=attempts,
        dropped=dropped,
        bundle=None if bundle is None else (digest, bundle),
    )

"""How far schedules have come, in the store: a line each, by `PIPELINE/ID`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.schedules import Decision, Progress
from gamenode_server.records import NewAudit, NewEvent, PipelineVersion
from gamenode_server.store.tx import Tx

_KEY = "schedule:"
#: Who starts what is due, as `created_by` and the audit log have it.
ACTOR = "schedule:"
#: Times that an event names; of the others it says how many there are.
_NAMED = 3


def kept(tx: Tx, name: str) -> Progress | None:
    """What is kept of a schedule; None where there is nothing."""
    text = tx.meta(_KEY + name)
    if not text:
        return None
    fields = json.loads(text)
    return Progress(**{**fields, "waiting": tuple(fields["waiting"])})


def keep(tx: Tx, name: str, progress: Progress) -> None:
    """Keeps it."""
    tx.put_meta(_KEY + name, json.dumps(asdict(progress), separators=(",", ":")))


def load(version: PipelineVersion, names: Sequence[str]) -> Callable[[Tx], dict[str, Progress]]:
    """What is kept of the schedules of a pipeline, but for what was before it was taken out of use."""

    def op(tx: Tx) -> dict[str, Progress]:
        before = tx.pipeline(version.name, version.version - 1) if version.version > 1 else None
        since = before.created_at if before is not None and before.removed else 0.0
        return {name: found for name in names if (found := kept(tx, name)) is not None and found.since > since}

    return op


def looked(name: str, decision: Decision) -> Callable[[Tx], Progress]:
    """Keeps a decision, and tells what it leaves out. Where somebody paused it meanwhile, nothing starts."""

    def op(tx: Tx) -> Progress:
        before = kept(tx, name) or decision.progress
        if before.paused_by and not decision.progress.paused_by:
            return before
        after = replace(before, since=decision.progress.since, waiting=decision.progress.waiting)
        keep(tx, name, after)
        told = (("schedule.missed", decision.missed), ("schedule.skipped", decision.skipped))
        events = [NewEvent(type=type, actor=ACTOR + name, data=_times(name, times)) for type, times in told if times]
        if events:
            tx.emit(events)
        return after

    return op


def _times(name: str, times: Sequence[float]) -> dict[str, str]:
    named = ",".join(f"{time:.0f}" for time in times[-_NAMED:])
    return {"schedule": name, "count": str(len(times)), "times": named}


def started(name: str, time: float, *, run_id: str = "", error: str = "") -> Callable[[Tx], Progress]:
    """Notes what became of the start of a time: its run, or why there is none."""

    def op(tx: Tx) -> Progress:
        before = kept(tx, name)
        assert before is not None
        waiting = tuple(other for other in before.waiting if other != time)
        after = replace(before, waiting=waiting, last_time=time, last_error=error)
        if run_id:
            after = replace(after, last_run=run_id)
        else:
            data = {"schedule": name, "time": f"{time:.0f}", "error": error}
            tx.emit([NewEvent(type="schedule.failed", actor=ACTOR + name, data=data)])
        keep(tx, name, after)
        return after

    return op


def set_paused(
    names: Sequence[str], *, paused: bool, by: str, reason: str, audit: NewAudit
) -> Callable[[Tx], dict[str, Progress]]:
    """Pauses schedules or lets them go on; what stands so already is left alone."""

    def op(tx: Tx) -> dict[str, Progress]:
        found: dict[str, Progress] = {}
        for name in names:
            before = kept(tx, name)
            if before is None:
                raise GameNodeError(Code.STATE_CONFLICT, f"the schedule {name!r} was stored just now; try again")
            after = before
            if bool(before.paused_by) != paused:
                after = replace(
                    before,
                    since=max(before.since, tx.now) if not paused else before.since,
                    paused_by=by if paused else "",
                    paused_reason=reason if paused else "",
                )
                keep(tx, name, after)
                type = "schedule.paused" if paused else "schedule.resumed"
                tx.emit([NewEvent(type=type, actor=by, data={"schedule": name, "reason": reason})])
            found[name] = after
        tx.audit(audit)
        return found

    return op

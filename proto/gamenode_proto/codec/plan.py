"""The plan and the bundle as messages. A bundle's bytes are made once, at planning, and are its identity from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from google.protobuf.message import DecodeError

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Limits, OnLost, Plan, RetryOn, RetryPolicy, Script, StepPlan, StopPolicy
from gamenode_proto.codec.inlined import inlined_from_proto, inlined_to_proto
from gamenode_proto.codec.values import scalars_from_proto, scalars_to_proto, settings_from_proto, settings_to_proto
from gamenode_proto.v1 import plan_pb2

_ON_LOST: Final = {policy: plan_pb2.OnLost.Value(f"ON_LOST_{policy.name}") for policy in OnLost}
_ON_LOST_OF: Final[Mapping[int, OnLost]] = {number: policy for policy, number in _ON_LOST.items()}
_RETRY_ON: Final[Mapping[str, RetryOn]] = {str(kind): kind for kind in RetryOn}


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file that travels with a plan. `path` is relative, with forward slashes."""

    path: str
    content: bytes
    mode: int = 0o644


def bundle_bytes(plan: Plan, files: Iterable[BundleFile] = ()) -> bytes:
    """The bundle: the same plan and files always give the same bytes, whatever order they come in."""
    bundle = plan_pb2.Bundle(plan=plan_to_proto(plan))
    for file in sorted(files, key=lambda file: file.path):
        bundle.files.add(path=file.path, content=file.content, mode=file.mode)
    return bundle.SerializeToString(deterministic=True)


def bundle_from_bytes(data: bytes) -> tuple[Plan, tuple[BundleFile, ...]]:
    """What a bundle holds. INTEGRITY_FAILED for bytes that are no bundle or a file that would leave the workspace."""
    try:
        bundle = plan_pb2.Bundle.FromString(data)
    except DecodeError as error:
        raise GameNodeError(Code.INTEGRITY_FAILED, f"these {len(data)} bytes are not a bundle") from error
    if not bundle.HasField("plan"):
        raise GameNodeError(Code.INTEGRITY_FAILED, "a bundle without a plan")
    for file in bundle.files:
        path = PurePosixPath(file.path)
        if not file.path or path.is_absolute() or ".." in path.parts or "\0" in file.path:
            raise GameNodeError(Code.INTEGRITY_FAILED, f"the bundle's file {file.path!r} would leave the workspace")
    return plan_from_proto(bundle.plan), tuple(BundleFile(f.path, f.content, f.mode) for f in bundle.files)


def plan_to_proto(plan: Plan) -> plan_pb2.Plan:
    """A plan as a message."""
    message = plan_pb2.Plan(
        pipeline=plan.pipeline,
        version=plan.version,
        params=scalars_to_proto(plan.params),
        env=plan.env,
        steps=[step_plan_to_proto(step) for step in plan.steps],
        timeout=plan.timeout,
        finally_timeout=plan.finally_timeout,
        on_lost=_ON_LOST[plan.on_lost],
        inlined=[inlined_to_proto(step, inlined) for step, inlined in sorted(plan.scopes.items())],
    )
    # `finally` is a word of Python, so there is no attribute of that name.
    getattr(message, "finally").extend(step_plan_to_proto(step) for step in plan.finally_)
    return message


def plan_from_proto(message: plan_pb2.Plan) -> Plan:
    """The plan in a message."""
    on_lost = _ON_LOST_OF.get(message.on_lost)
    if on_lost is None:
        raise GameNodeError(Code.PROTOCOL_ERROR, f"on_lost {message.on_lost} is not one this version knows")
    return Plan(
        pipeline=message.pipeline,
        version=message.version,
        steps=tuple(map(step_plan_from_proto, message.steps)),
        finally_=tuple(map(step_plan_from_proto, getattr(message, "finally"))),
        params=scalars_from_proto(message.params),
        env=dict(message.env),
        timeout=message.timeout,
        finally_timeout=message.finally_timeout,
        on_lost=on_lost,
        scopes={inlined.step: inlined_from_proto(inlined) for inlined in message.inlined},
    )


def step_plan_to_proto(step: StepPlan) -> plan_pb2.StepPlan:
    """A step of a plan as a message."""
    limits, retry, stop = step.limits, step.retry, step.stop
    message = plan_pb2.StepPlan(
        id=step.id,
        kind=step.kind,
        needs=step.needs,
        condition=step.condition,
        script=None if step.script is None else _script_to_proto(step.script),
        env=step.env,
        workdir=step.workdir,
        user=step.user,
        limits=plan_pb2.Limits(
            cpus=limits.cpus,
            memory=limits.memory,
            pids=limits.pids,
            file_size=limits.file_size,
            open_files=limits.open_files,
            output=limits.output,
        )
        if limits
        else None,
        timeout=step.timeout,
        retry=plan_pb2.RetryPolicy(
            attempts=retry.attempts, backoff=retry.backoff, max_backoff=retry.max_backoff, on=sorted(retry.on)
        ),
        stop=plan_pb2.StopPolicy(
            signal=stop.signal,
            grace=stop.grace,
            command=None if stop.command is None else _script_to_proto(stop.command),
        ),
        idempotent=step.idempotent,
        continue_on_error=step.continue_on_error,
        group=step.group,
        after_failure=step.after_failure,
    )
    if step.with_:
        getattr(message, "with").CopyFrom(settings_to_proto(step.with_))  # a word of Python, too
    return message


def step_plan_from_proto(message: plan_pb2.StepPlan) -> StepPlan:
    """The step in a message."""
    limits, retry, stop = message.limits, message.retry, message.stop
    return StepPlan(
        id=message.id,
        kind=message.kind,
        needs=tuple(message.needs),
        condition=message.condition,
        script=_script_from_proto(message.script) if message.HasField("script") else None,
        env=dict(message.env),
        workdir=message.workdir,
        user=message.user,
        limits=Limits(
            cpus=limits.cpus,
            memory=limits.memory,
            pids=limits.pids,
            file_size=limits.file_size,
            open_files=limits.open_files,
            output=limits.output,
        ),
        timeout=message.timeout,
        retry=RetryPolicy(
            attempts=retry.attempts,
            backoff=retry.backoff,
            max_backoff=retry.max_backoff,
            on=frozenset(map(_retry_on, retry.on)),
        ),
        stop=StopPolicy(
            signal=stop.signal,
            grace=stop.grace,
            command=_script_from_proto(stop.command) if stop.HasField("command") else None,
        ),
        idempotent=message.idempotent,
        continue_on_error=message.continue_on_error,
        with_=settings_from_proto(getattr(message, "with")),
        group=message.group,
        after_failure=message.after_failure,
    )


def _retry_on(word: str) -> RetryOn:
    kind = _RETRY_ON.get(word)
    if kind is None:
        raise GameNodeError(Code.PROTOCOL_ERROR, f"retry on {word!r} is not one this version knows")
    return kind


def _script_to_proto(script: Script) -> plan_pb2.Script:
    message = plan_pb2.Script(shell=script.shell, text=script.text, argv=script.argv)
    for name, expression in script.bindings.items():
        message.bindings.add(name=name, expression=expression)
    return message


def _script_from_proto(message: plan_pb2.Script) -> Script:
    return Script(
        shell=message.shell,
        text=message.text,
        argv=tuple(message.argv),
        bindings={binding.name: binding.expression for binding in message.bindings},
    )

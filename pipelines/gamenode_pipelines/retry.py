"""Whether a failed attempt is tried again, and when. Decides and says why; arms no timer."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.plan import RetryOn, RetryPolicy


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Try again after so many seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The failure stands, for this reason."""

    reason: str


#: Ends somebody wanted, or that no second try can change. Everything not named in either table counts as `exit`.
_FINAL = frozenset(
    {
        Code.CANCELLED,
        Code.TASK_TIMEOUT,
        Code.REJECTED,
        Code.POLICY_DENIED,
        Code.INVALID_ARGUMENT,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.INTEGRITY_FAILED,
        Code.SUPERSEDED,
        Code.QUARANTINED,
        Code.REVOKED,
    }
)
_KINDS = {
    Code.STEP_TIMEOUT: RetryOn.TIMEOUT,
    Code.TIMEOUT: RetryOn.TIMEOUT,
    Code.GATE_DEADLINE: RetryOn.TIMEOUT,
    Code.OOM_KILLED: RetryOn.RESOURCE,
    Code.RESOURCE_LIMIT: RetryOn.RESOURCE,
    Code.INSUFFICIENT_RESOURCES: RetryOn.RESOURCE,
    Code.STORAGE_FULL: RetryOn.RESOURCE,
    Code.LOST: RetryOn.LOST,
    Code.SUPERVISOR_LOST: RetryOn.LOST,
}
#: 2 ** this is more seconds than any `max_backoff`.
_MAX_DOUBLINGS = 60


def failure_kind(error: Error) -> RetryOn | None:
    """Which kind of failure an attempt's error is for a retry; None where a retry makes no sense."""
    return None if error.code in _FINAL else _KINDS.get(error.code, RetryOn.EXIT)


def decide(policy: RetryPolicy, *, attempt: int, failure: RetryOn, jitter: float) -> RetryDecision | GiveUp:
    """What follows on the failure of `attempt` (from 1).

    The delay is "full jitter" exponential: `jitter` (in [0, 1)) of `backoff` × 2^(attempt − 1), at most of
    `max_backoff`. Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if failure not in policy.on:
        return GiveUp(f"the step does not retry on {failure}")
    if attempt >= policy.attempts:
        return GiveUp(f"attempt {attempt} of {policy.attempts} was the last")
    ceiling = min(policy.max_backoff, policy.backoff * 2.0 ** min(max(attempt - 1, 0), _MAX_DOUBLINGS))
    return RetryDecision(after=max(0.0, jitter * ceiling))

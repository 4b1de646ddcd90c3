"""The small decisions: what an agent does about an attempt after its restart, and whether a failure is tried again."""

from __future__ import annotations

import pytest

from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.plan import RetryOn, RetryPolicy
from gamenode_pipelines.recovery import Adopt, Decision, Evidence, Harvest, Lost, Phase, Respawn, decide
from gamenode_pipelines.retry import GiveUp, RetryDecision, failure_kind
from gamenode_pipelines.retry import decide as decide_retry

REBOOTED = "the host was restarted while it ran"


@pytest.mark.parametrize(
    ("phase", "same_boot", "may_have_started", "decision"),
    [
        (Phase.NEVER_STARTED, True, False, Respawn()),
        (Phase.NEVER_STARTED, True, True, Respawn()),
        (Phase.NEVER_STARTED, False, False, Respawn()),
        (Phase.NEVER_STARTED, False, True, Respawn()),
        (Phase.ENDED, True, False, Harvest()),
        (Phase.ENDED, True, True, Harvest()),
        (Phase.ENDED, False, False, Harvest()),
        (Phase.ENDED, False, True, Harvest()),
        (Phase.RUNNING, True, False, Adopt()),
        (Phase.RUNNING, True, True, Adopt()),
        (Phase.RUNNING, False, False, Lost(REBOOTED)),
        (Phase.RUNNING, False, True, Lost(REBOOTED)),
        (Phase.UNKNOWN, True, False, Respawn()),
        (Phase.UNKNOWN, True, True, Lost("the supervisor of its process was lost")),
        (Phase.UNKNOWN, False, False, Respawn()),
        (Phase.UNKNOWN, False, True, Lost("the host was restarted while it may have run")),
    ],
)
def test_recovery(phase: Phase, same_boot: bool, may_have_started: bool, decision: Decision) -> None:
    assert decide(Evidence(phase, same_boot, may_have_started)) == decision


POLICY = RetryPolicy(attempts=5, backoff=2.0, max_backoff=10.0, on=frozenset({RetryOn.EXIT}))


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0)])
def test_delays_double_up_to_the_most_and_spread_over_all_of_it(attempt: int, ceiling: float) -> None:
    for jitter in (0.0, 0.25, 0.999):
        decision = decide_retry(POLICY, attempt=attempt, failure=RetryOn.EXIT, jitter=jitter)
        assert decision == RetryDecision(after=jitter * ceiling)


def test_the_last_attempt_is_the_last() -> None:
    decision = decide_retry(POLICY, attempt=5, failure=RetryOn.EXIT, jitter=0.5)
    assert decision == GiveUp("attempt 5 of 5 was the last")


def test_only_the_named_failures_are_tried_again() -> None:
    decision = decide_retry(POLICY, attempt=1, failure=RetryOn.TIMEOUT, jitter=0.5)
    assert decision == GiveUp("the step does not retry on timeout")


def test_a_hundred_thousand_attempts_do_not_overflow() -> None:
    policy = RetryPolicy(attempts=10**6, backoff=1.0, max_backoff=30.0)
    assert decide_retry(policy, attempt=10**5, failure=RetryOn.EXIT, jitter=0.5) == RetryDecision(15.0)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.EXIT_NONZERO, RetryOn.EXIT),
        (Code.IMAGE_MISSING, RetryOn.EXIT),
        (Code.STEP_TIMEOUT, RetryOn.TIMEOUT),
        (Code.OOM_KILLED, RetryOn.RESOURCE),
        (Code.RESOURCE_LIMIT, RetryOn.RESOURCE),
        (Code.LOST, RetryOn.LOST),
        (Code.CANCELLED, None),
        (Code.TASK_TIMEOUT, None),
        (Code.INVALID_ARGUMENT, None),
    ],
)
def test_kinds_of_failure(code: Code, kind: RetryOn | None) -> None:
    assert failure_kind(Error(code, "")) is kind

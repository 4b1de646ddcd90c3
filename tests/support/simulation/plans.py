"""Pipelines of every temper."""

from __future__ import annotations

from random import Random

from gamenode_pipelines.plan import OnLost, Plan, RetryOn, RetryPolicy, StepPlan


def any_plan(rng: Random) -> Plan:
    """A plan of one to four steps in any shape, with any policies."""
    kind = rng.random()
    idempotent = 1.0 if kind < 0.3 else 0.0 if kind < 0.6 else 0.5
    count = rng.choice((1, 1, 2, 3, 4))
    steps = [_step(rng, f"s{at}", [f"s{n}" for n in range(at)], idempotent) for at in range(count)]
    final = [_step(rng, f"f{at}", [f"f{n}" for n in range(at)], idempotent) for at in range(rng.choice((0, 0, 1, 2)))]
    return Plan(
        "sim",
        1,
        tuple(steps),
        tuple(final),
        timeout=rng.choice((5.0, 40.0, 600.0, 600.0)),
        finally_timeout=rng.choice((3.0, 300.0)),
        on_lost=rng.choice(tuple(OnLost)),
    )


def _step(rng: Random, id: str, before: list[str], idempotent: float) -> StepPlan:
    needs = before[-1:] if rng.random() < 0.6 else rng.sample(before, min(len(before), rng.randint(0, 2)))
    on = frozenset(kind for kind in RetryOn if rng.random() < 0.6)
    return StepPlan(
        id,
        needs=tuple(needs),
        retry=RetryPolicy(rng.choice((1, 1, 3)), backoff=rng.choice((0.1, 4.0)), on=on),
        idempotent=rng.random() < idempotent,
        continue_on_error=rng.random() < 0.2,
    )

"""Hypothesis strategies for every domain value that travels or is stored."""

from __future__ import annotations

from hypothesis import strategies as st

from gamenode_pipelines import events as e
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.gates import Approval, Concurrency, Decision, Hold, OnConflict
from gamenode_pipelines.placement import Requires
from gamenode_pipelines.plan import (
    Argument,
    Inlined,
    Limits,
    OnLost,
    Plan,
    RetryOn,
    RetryPolicy,
    Script,
    StepPlan,
    StopPolicy,
)
from gamenode_pipelines.reconcile import Held
from gamenode_pipelines.rollout import Order, Rollout
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import RunState, TaskState
from gamenode_pipelines.states import StepState as S
from gamenode_pipelines.tasks import NodeFacts, Step, Task

words = st.text(st.characters(codec="utf-8"), max_size=8)
ids = st.text("abcdefgh234567", min_size=1, max_size=4)
times = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**31 - 1)
big = st.integers(0, 2**63 - 1)
texts = st.dictionaries(words, words, max_size=3)
scalars = words | st.booleans() | st.integers(-(2**63), 2**63 - 1) | times
errors = st.builds(Error, st.sampled_from(Code), words, texts)
cancels = st.builds(e.CancelInfo, words, words, st.booleans(), times)
holes = st.builds(e.LogHole, big, big, words)
logs = st.builds(e.LogSummary, big, big, words, st.lists(holes, max_size=2).map(tuple))
exit_codes = st.none() | st.integers(-(2**31), 2**31 - 1)
decisions = st.builds(Decision, st.booleans(), words, words, times)
facts = st.builds(NodeFacts, words, words, texts, words)
bodies: st.SearchStrategy[e.TaskEventBody] = st.one_of(
    st.builds(e.TaskAssigned),
    st.builds(e.TaskAccepted),
    st.builds(e.TaskRefused, errors),
    st.builds(e.TaskStarted),
    st.builds(e.StepStarted, words, counts),
    st.builds(e.StepEnded, words, counts, exit_codes, st.none() | errors, texts, st.none() | logs, times),
    st.builds(e.StepLost, words, counts, words, st.none() | logs),
    st.builds(e.RetryDue, words, counts),
    st.builds(e.CancelRequested, cancels),
    st.builds(e.CancelWanted, cancels),
    st.builds(e.TaskTimedOut),
    st.builds(e.FinallyTimedOut),
    st.builds(e.TaskLost, words, st.booleans()),
    st.builds(e.TaskResolved, st.sampled_from(["succeeded", "failed", "retry"]), words, words),
    st.builds(e.TaskSkipped, words),
)
task_events = st.builds(e.TaskEvent, words, counts, times, bodies)


def _step(id: str) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        st.just(id),
        st.sampled_from(S),
        counts,
        exit_codes,
        st.none() | errors,
        texts,
        times,
        times,
        st.none() | logs,
        times,
        st.booleans(),
        st.booleans(),
    )


steps = st.lists(ids, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*map(_step, names)).map(lambda made: {step.id: step for step in made})
)
task_values = st.builds(
    Task,
    words,
    words,
    facts,
    steps,
    st.sampled_from(TaskState),
    counts,
    st.none() | errors,
    st.none() | cancels,
    times,
    times,
    times,
    st.booleans(),
    counts,
    st.none() | st.sampled_from(TaskState),
    times,
    st.none() | st.sampled_from(TaskState),
    words,
    st.none() | cancels,
)
run_values = st.builds(
    Run,
    id=words,
    pipeline=words,
    pipeline_version=counts,
    total=counts,
    state=st.sampled_from(RunState),
    error=st.none() | errors,
    params=st.dictionaries(words, scalars, max_size=3),
    note=words,
    created_at=times,
    started_at=times,
    finished_at=times,
    created_by=words,
    bundle_digest=words,
    cancel=st.none() | cancels,
    counts=st.dictionaries(st.sampled_from(TaskState), st.integers(1, 9), max_size=3),
    rollout=st.builds(Rollout, counts, counts, counts, times, st.sampled_from(Order)),
    next_at=times,
    hold=st.none() | st.builds(Hold, words, words, times),
    approval=st.none() | st.builds(Approval, words, words),
    decision=st.none() | decisions,
    concurrency=st.none() | st.builds(Concurrency, words, st.sampled_from(OnConflict)),
    group=words,
    queued=st.booleans(),
    chain=st.lists(words, max_size=2).map(tuple),
    cut=st.frozensets(st.integers(0, 999), max_size=3),
    decisions=st.dictionaries(words, decisions, max_size=2),
    requires=st.builds(Requires, st.none() | times, st.none() | big, st.none() | big),
    target=words,
    started=counts,
    retry_of=words,
)
helds = st.builds(Held, words, counts, st.sampled_from(TaskState))
scripts = st.builds(Script, words, words, st.lists(words, max_size=3).map(tuple), texts)
limits = st.builds(Limits, times, big, counts, big, counts, big)
retries = st.builds(RetryPolicy, counts, times, times, st.frozensets(st.sampled_from(RetryOn)))
step_plans = st.builds(
    StepPlan,
    id=words,
    kind=words,
    needs=st.lists(words, max_size=3).map(tuple),
    condition=words,
    script=st.none() | scripts,
    env=texts,
    workdir=words,
    user=words,
    limits=limits,
    timeout=times,
    retry=retries,
    stop=st.builds(StopPolicy, words, times, st.none() | scripts),
    idempotent=st.booleans(),
    continue_on_error=st.booleans(),
    group=words,
    after_failure=words,
)
arguments = st.builds(
    Argument, words, scalars, words, st.lists(words, max_size=2).map(tuple), st.none() | times, st.none() | times
)
plans = st.builds(
    Plan,
    pipeline=words,
    version=counts,
    steps=st.lists(step_plans, max_size=3).map(tuple),
    finally_=st.lists(step_plans, max_size=2).map(tuple),
    params=st.dictionaries(words, scalars, max_size=3),
    env=texts,
    timeout=times,
    finally_timeout=times,
    scopes=st.dictionaries(
        words, st.builds(Inlined, words, counts, st.lists(arguments, max_size=2).map(tuple), texts, texts), max_size=2
    ),
    on_lost=st.sampled_from(OnLost),
)

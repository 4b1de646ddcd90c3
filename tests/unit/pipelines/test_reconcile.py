"""What should be on a node against what is, case by case, and every case answered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest

from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.reconcile import (
    Action,
    CancelHere,
    DeclareLost,
    Expected,
    Forget,
    Held,
    ReportUnknown,
    SendAssign,
    SendCancel,
    Supersede,
    TakeUp,
    reconcile,
)
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.states import TaskState as T

CANCEL = CancelInfo("ops", at=1.0)
LIVE = (T.DISPATCHED, T.RUNNING, T.WAITING, T.CANCELLING)
GIVEN_UP = (T.LOST, T.NEEDS_ATTENTION)
ENDED = (T.SUCCEEDED, T.FAILED, T.CANCELLED, T.SKIPPED)
FORGOT = DeclareLost("t", 2, "the node no longer knows of this assignment")
WIPED = DeclareLost("t", 2, "the node has lost its memory of what it did")
DROPPED: list[Action] = [Supersede("t", 2), WIPED]
TAKEN_UP_TO_END: list[Action] = [TakeUp("t", 2), SendCancel("t", 2, CANCEL)]


def of(
    state: TaskState,
    *held: Held,
    accepted: bool = True,
    cancel: bool = False,
    unreachable: bool = False,
    known: bool = True,
) -> list[Action]:
    want = Expected("t", 2, state, accepted, CANCEL if cancel else None, unreachable)
    return list(reconcile([want], held, outbox_known=known))


def held(state: TaskState = T.RUNNING, fence: int = 2) -> Held:
    return Held("t", fence, state)


CASES: list[tuple[str, list[Action], Sequence[Action]]] = [
    # dispatched
    ("not accepted: sent again", of(T.DISPATCHED, accepted=False), [SendAssign("t", 2)]),
    (
        "not accepted, cancelled: nothing to stop",
        of(T.DISPATCHED, accepted=False, cancel=True),
        [CancelHere("t", 2, CANCEL)],
    ),
    ("not accepted, memory gone: may have run", of(T.DISPATCHED, accepted=False, known=False), [WIPED]),
    ("accepted and forgotten", of(T.DISPATCHED), [FORGOT]),
    ("accepted on disk, its event still to come", of(T.DISPATCHED, held(T.DISPATCHED), accepted=False), []),
    ("held and to be cancelled", of(T.DISPATCHED, held(T.DISPATCHED), cancel=True), [SendCancel("t", 2, CANCEL)]),
    (
        "an older assignment runs",
        of(T.DISPATCHED, held(fence=1), accepted=False),
        [Supersede("t", 1), SendAssign("t", 2)],
    ),
    ("an older one is over", of(T.DISPATCHED, held(T.LOST, 1), accepted=False), [Forget("t", 1), SendAssign("t", 2)]),
    # running
    *[(f"{s}: as it should be", of(s, held(s)), []) for s in LIVE],
    *[(f"{s}: forgotten", of(s), [FORGOT]) for s in LIVE[1:]],
    *[(f"{s}: memory gone", of(s, known=False), [WIPED]) for s in LIVE],
    *[(f"{s}: held by a new memory", of(s, held(), known=False), DROPPED) for s in LIVE],
    *[(f"{s}: to be cancelled", of(s, held(s), cancel=True), [SendCancel("t", 2, CANCEL)]) for s in LIVE],
    *[(f"{s}: ended there before the cancel", of(s, held(T.SUCCEEDED), cancel=True), []) for s in LIVE],
    *[(f"{s}: a newer assignment", of(s, held(fence=3)), [ReportUnknown("t", 3)]) for s in LIVE],
    # given up
    *[(f"{s}: and gone", of(s), []) for s in GIVEN_UP],
    *[(f"{s}: its end is being reported", of(s, held(s)), []) for s in GIVEN_UP],
    *[(f"{s}: still runs there", of(s, held()), [Supersede("t", 2)]) for s in GIVEN_UP],
    *[(f"{s}: back in reach", of(s, held(), unreachable=True), [TakeUp("t", 2)]) for s in GIVEN_UP],
    *[(f"{s}: back, and over there", of(s, held(T.FAILED), unreachable=True, cancel=True), []) for s in GIVEN_UP],
    *[(f"{s}: back without it", of(s, unreachable=True), [FORGOT]) for s in GIVEN_UP],
    *[(f"{s}: back without a memory", of(s, unreachable=True, known=False), [WIPED]) for s in GIVEN_UP],
    *[
        (
            f"{s}: back in reach, to be cancelled",
            of(s, held(), unreachable=True, cancel=True),
            TAKEN_UP_TO_END,
        )
        for s in GIVEN_UP
    ],
    ("lost, to be cancelled", of(T.LOST, cancel=True), [CancelHere("t", 2, CANCEL)]),
    ("only a person ends what needs one", of(T.NEEDS_ATTENTION, cancel=True), []),
    # over, or not begun
    *[(f"{s}: not there", of(s), []) for s in (*ENDED, T.PENDING)],
    *[(f"{s}: kept there", of(s, held(T.SUCCEEDED)), [Forget("t", 2)]) for s in ENDED],
    *[(f"{s}: still runs there", of(s, held()), [Supersede("t", 2)]) for s in ENDED],
    *[(f"{s}: a newer assignment", of(s, held(fence=3)), [ReportUnknown("t", 3)]) for s in (*ENDED, T.PENDING)],
]


@pytest.mark.parametrize(("actions", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_case(actions: list[Action], expected: Sequence[Action]) -> None:
    assert actions == expected


def test_what_the_server_never_heard_of_is_reported() -> None:
    assert reconcile([], [Held("x", 4, T.RUNNING)], outbox_known=True) == (ReportUnknown("x", 4),)


def test_what_must_stop_comes_before_what_must_start() -> None:
    actions = reconcile(
        [Expected("a", 1, T.DISPATCHED), Expected("b", 2, T.RUNNING), Expected("c", 1, T.FAILED)],
        [Held("c", 1, T.RUNNING), Held("b", 1, T.RUNNING), Held("x", 1, T.RUNNING)],
        outbox_known=True,
    )
    assert actions == (
        Supersede("b", 1),
        Supersede("c", 1),
        ReportUnknown("x", 1),
        SendAssign("a", 1),
        DeclareLost("b", 2, "the node no longer knows of this assignment"),
    )


def test_every_case_keeps_the_rules() -> None:
    fences = [(), (1,), (2,), (3,), (1, 2), (2, 3)]
    for state, accepted, cancel, unreachable, known, there, on in product(T, (0, 1), (0, 1), (0, 1), (0, 1), T, fences):
        if unreachable and state not in GIVEN_UP:
            continue
        actions = of(
            state,
            *(held(there, fence) for fence in on),
            accepted=bool(accepted),
            cancel=bool(cancel),
            unreachable=bool(unreachable),
            known=bool(known),
        )
        kinds = [type(action) for action in actions]
        case = (state, accepted, cancel, unreachable, known, there, on, actions)
        # An old assignment is always stopped or dropped, and never together with a wish to run the same one.
        assert (1 in on) == any(a.fence == 1 for a in actions), case
        assert not ({SendAssign, DeclareLost} <= set(kinds)), case
        # Nothing is assigned where the node, or the memory it lost, may have taken the assignment already.
        if SendAssign in kinds:
            assert state is T.DISPATCHED, case
            assert not accepted, case
            assert known, case
            assert not {2, 3} & set(on), case
        # Nobody is declared lost who is there to tell, and nobody is cancelled over the node's head.
        if DeclareLost in kinds:
            assert 2 not in on or not known, case
            assert 3 not in on, case
        if CancelHere in kinds:
            assert 2 not in on or not known, case
            assert cancel, case
        # A task that has ended or has not begun only ever clears up.
        if state.ended or state is T.PENDING:
            assert set(kinds) <= {Supersede, Forget, ReportUnknown}, case

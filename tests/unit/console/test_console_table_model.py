"""The model of live tables: what stays under the cursor, what is marked, and when rows change places."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gamenode_console.model.table import SORT_EVERY, SORT_REST, TableModel
from support.hosts import Host, columns, hosts, model_of


def judged(model: TableModel[Host], now: float = 0.0) -> list[str]:
    while model.judge(2):
        pass
    model.settle(now)
    return list(model.visible)


# -- rows and the cursor ----------------------------------------------------------------------------------------------


def test_rows_stand_in_the_order_in_which_they_came_and_change_in_place() -> None:
    model = model_of(*hosts("b a c"))
    model.put(Host("a", 5.0))
    settled = model.settle(1.0)
    assert list(model.visible) == ["b", "a", "c"]
    assert (list(settled.changed), settled.relisted) == (["a"], False)
    assert model.rows["a"].cpu == 5.0


def test_nothing_is_taken_in_before_it_is_settled() -> None:
    model = model_of(*hosts("a b"))
    model.put(Host("c"))
    model.remove("a")
    assert list(model.visible) == ["a", "b"]
    model.settle(1.0)
    assert list(model.visible) == ["b", "c"]


def test_the_last_word_on_a_row_counts() -> None:
    model = model_of(*hosts("a b"))
    model.remove("a")
    model.put(Host("a", 7.0))
    model.put(Host("x"))
    model.remove("x")
    model.settle(1.0)
    assert list(model.visible) == ["a", "b"]
    assert model.rows["a"].cpu == 7.0


def test_all_rows_put_anew_keep_cursor_and_marks() -> None:
    model = model_of(*hosts("a b c"))
    model.selection.move_to(1)
    model.selection.toggle_mark()
    model.clear()
    for host in hosts("c b d"):
        model.put(host)
    settled = model.settle(1.0)
    assert (model.cursor, model.marks, settled.moved) == ("b", {"b"}, False)
    assert set(model.visible) == {"b", "c", "d"}


def test_until_it_is_touched_the_cursor_is_on_the_first_row() -> None:
    model = model_of(*hosts("m"), sort="name")
    model.put(Host("a"))
    model.settle(2.0)
    assert model.cursor == "a"
    model.touch()
    model.put(Host("0"))
    model.settle(10.0)
    model.settle(20.0)
    assert (list(model.visible), model.cursor) == (["0", "a", "m"], "a")


@pytest.mark.parametrize(("at", "heir"), [(1, "c"), (3, "c"), (0, "b")])
def test_the_next_row_gets_the_cursor_of_one_that_goes(at: int, heir: str) -> None:
    model = model_of(*hosts("a b c d"))
    model.selection.move_to(at)
    model.remove(model.cursor)
    assert model.settle(1.0).moved
    assert model.cursor == heir


def test_the_next_row_that_is_left_gets_it_where_several_go() -> None:
    model = model_of(*hosts("a b c d e"))
    model.selection.move_to(1)
    for id in "bcd":
        model.remove(id)
    model.settle(1.0)
    assert model.cursor == "e"


def test_an_empty_table_has_no_cursor_and_gets_one_again() -> None:
    model = model_of(*hosts("a"))
    model.touch()
    model.remove("a")
    model.settle(1.0)
    assert (model.cursor, model.selected(), model.current()) == ("", [], None)
    model.put(Host("b"))
    model.settle(2.0)
    assert model.cursor == "b"


# -- order ------------------------------------------------------------------------------------------------------------


def test_rows_change_places_at_most_once_a_second() -> None:
    model = model_of(Host("a", 1.0), Host("b", 2.0), sort="cpu")
    model.put(Host("a", 3.0))
    model.settle(SORT_EVERY / 2)
    assert (list(model.visible), model.order_stale) == (["a", "b"], True)
    model.settle(SORT_EVERY)
    assert (list(model.visible), model.order_stale) == (["b", "a"], False)


def test_rows_do_not_change_places_while_a_hand_is_at_the_table() -> None:
    model = model_of(Host("a", 1.0), Host("b", 2.0), sort="cpu")
    model.touch()
    model.settle(5.0)
    model.put(Host("a", 3.0))
    model.settle(5.0 + SORT_REST - 0.1)
    assert (list(model.visible), model.order_stale) == (["a", "b"], True)
    model.settle(5.0 + SORT_REST)
    assert list(model.visible) == ["b", "a"]


def test_who_asks_for_order_gets_it_at_once() -> None:
    model = model_of(Host("a", 1.0), Host("b", 2.0), sort="cpu")
    model.touch()
    model.put(Host("a", 3.0))
    model.settle(0.1)
    model.sort_now()
    model.settle(0.1)
    assert list(model.visible) == ["b", "a"]
    model.sort("name", reverse=True)
    model.settle(0.2)
    assert list(model.visible) == ["b", "a"]
    model.sort("")
    model.settle(0.3)
    assert list(model.visible) == ["a", "b"]


def test_a_change_that_leaves_the_order_right_is_no_reason_to_sort() -> None:
    model = model_of(Host("a", 1.0), Host("b", 2.0), sort="cpu")
    model.put(Host("a", 1.0, "failed"))
    assert not model.settle(0.1).relisted
    assert not model.order_stale


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_is_not_known_stands_last_whichever_way_round(missing: float | None, reverse: bool) -> None:
    model = model_of(Host("none", missing), Host("low", 1.0), Host("high", 9.0), sort="cpu", reverse=reverse)
    assert list(model.visible) == (["high", "low", "none"] if reverse else ["low", "high", "none"])


# -- filters ----------------------------------------------------------------------------------------------------------


def test_a_filter_judges_every_row_once_and_then_what_changes() -> None:
    looked_at: list[str] = []

    def words(host: Host) -> dict[str, object]:
        looked_at.append(host.id)
        return {"name": host.id, "state": host.state, "cpu": host.cpu}

    model = TableModel(columns(), lambda host: host.id, words)
    for host in hosts("eu-1 eu-2 us-1"):
        model.put(host)
    model.settle(0.0)
    assert looked_at == []  # nobody has asked yet
    assert model.filter("eu") == ""
    assert judged(model) == ["eu-1", "eu-2"]
    assert sorted(looked_at) == ["eu-1", "eu-2", "us-1"]
    model.filter("eu state=online")
    judged(model)
    assert len(looked_at) == 3  # the same rows: their words are known
    model.put(Host("eu-2", 99.0, "failed"))
    model.put(Host("eu-3"))
    model.settle(1.0)
    assert list(model.visible) == ["eu-1", "eu-3"]
    assert looked_at[3:] == ["eu-2", "eu-3"]


def test_what_was_listed_stays_until_the_filter_is_through() -> None:
    model = model_of(*hosts("a1 a2 b1"))
    model.filter("b")
    assert model.judge(1)
    model.put(Host("b2"))
    model.settle(0.1)
    assert list(model.visible)[:3] == ["a1", "a2", "b1"]
    assert judged(model, 0.2) == ["b1", "b2"]
    assert not model.judging


def test_a_bad_filter_is_told_and_the_old_one_stays() -> None:
    model = model_of(*hosts("a b"))
    model.filter("name=a")
    judged(model)
    assert "regular expression" in model.filter("~(")
    assert (model.filter_text, list(model.visible)) == ("name=a", ["a"])


def test_no_filter_lists_all_again_with_the_cursor_where_it_was() -> None:
    model = model_of(*hosts("a b c"))
    model.filter("c")
    judged(model)
    model.filter("")
    model.settle(1.0)
    assert (list(model.visible), model.cursor) == (["a", "b", "c"], "c")


def test_only_what_is_not_well_is_listed_on_request() -> None:
    model = model_of(Host("a"), Host("b", state="failed"))
    model.show_faulty(True)
    assert judged(model) == ["b"]
    model.put(Host("b"))
    model.put(Host("a", state="lost"))
    model.settle(1.0)
    assert list(model.visible) == ["a"]


def test_a_column_is_found_by_its_key_where_no_words_are_given() -> None:
    model = model_of(Host("a", 95.0), Host("b", 10.0))
    model.filter("cpu>80")
    assert judged(model) == ["a"]


# -- marks ------------------------------------------------------------------------------------------------------------


def test_marks_outlive_filters_and_go_with_their_rows() -> None:
    model = model_of(*hosts("a b c"))
    model.selection.mark_all()
    model.filter("b")
    judged(model)
    assert model.selected() == ["b", "a", "c"]
    model.remove("c")
    model.settle(1.0)
    assert model.selected() == ["b", "a"]


def test_without_marks_the_row_under_the_cursor_is_meant() -> None:
    model = model_of(*hosts("a b"))
    model.selection.move_to(1)
    assert model.selected() == ["b"]
    model.selection.invert()
    assert model.selected() == ["a", "b"]
    model.selection.unmark_all()
    assert model.selected() == ["b"]


@pytest.mark.parametrize(("start", "end"), [(1, 3), (3, 1)])
def test_a_range_is_marked_from_either_end(start: int, end: int) -> None:
    model = model_of(*hosts("a b c d e"))
    selection = model.selection
    selection.move_to(start)
    selection.toggle_range()
    selection.move_to(end)
    assert list(selection.within_range()) == [1, 2, 3]
    selection.toggle_range()
    assert model.marks == {"b", "c", "d"}
    assert not selection.within_range()


def test_a_range_whose_beginning_is_gone_begins_anew() -> None:
    model = model_of(*hosts("a b c"))
    model.selection.toggle_range()
    model.selection.move_to(2)
    model.remove("a")
    model.settle(1.0)
    assert not model.selection.within_range()
    model.selection.toggle_range()
    assert model.selection.range_start == "c"
    assert not model.marks


# -- whatever happens -------------------------------------------------------------------------------------------------

NAMES = st.sampled_from([f"h{n}" for n in range(8)])
FIGURES = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.5, math.nan]))
MATCHES: dict[str, Callable[[Host], bool]] = {
    "": lambda host: True,
    "h1|h2": lambda host: host.id in ("h1", "h2"),
    "!h3": lambda host: host.id != "h3",
    "cpu>1": lambda host: host.cpu is not None and host.cpu > 1,
}


class AnyTable(RuleBasedStateMachine):
    """A table that is put to, sorted, filtered and marked in any order beside a plain dict of what was put."""

    @initialize(sort=st.sampled_from(["", "cpu", "name"]), reverse=st.booleans())
    def begin(self, sort: str, reverse: bool) -> None:
        self.model = model_of(sort=sort, reverse=reverse)
        self.put: dict[str, Host] = {}
        self.touched = False
        self.now = 0.0
        self.wanted = ""

    @rule(name=NAMES, cpu=FIGURES)
    def put_row(self, name: str, cpu: float | None) -> None:
        self.put[name] = Host(name, cpu)
        self.model.put(self.put[name])

    @rule(name=NAMES)
    def remove_row(self, name: str) -> None:
        self.put.pop(name, None)
        self.model.remove(name)

    @rule(text=st.sampled_from(list(MATCHES)))
    def filter_rows(self, text: str) -> None:
        self.model.filter(text)
        self.wanted, self.touched = text, True

    @rule(key=st.sampled_from(["", "cpu", "name"]), reverse=st.booleans())
    def sort_rows(self, key: str, reverse: bool) -> None:
        self.model.sort(key, reverse=reverse)

    @rule(line=st.integers(-1, 9))
    def move(self, line: int) -> None:
        self.model.touch()
        self.model.selection.move_to(line)
        self.touched = True

    @rule(what=st.sampled_from(["toggle_mark", "toggle_range", "mark_all", "invert", "unmark_all"]))
    def mark(self, what: str) -> None:
        getattr(self.model.selection, what)()

    @rule(step=st.sampled_from([0.1, 1.0, 3.0]))
    def settle(self, step: float) -> None:
        self.now += step
        before = self.model.cursor
        while self.model.judge(3):
            pass
        moved = self.model.settle(self.now).moved
        assert moved is (self.model.cursor != before)
        if self.touched and before in self.model.visible:
            assert self.model.cursor == before
        self.listed_as_put()

    def listed_as_put(self) -> None:
        assert self.model.rows.keys() == self.put.keys()
        matching = {name for name, host in self.put.items() if MATCHES[self.wanted](host)}
        assert set(self.model.visible) == matching
        assert self.model.marks <= self.put.keys()
        if self.model.sort_key == "name" and not self.model.order_stale:
            assert list(self.model.visible) == sorted(matching, reverse=self.model.reverse)

    @invariant()
    def every_id_is_listed_once(self) -> None:
        visible = self.model.visible
        assert len(set(visible)) == len(visible)

    @invariant()
    def the_cursor_is_on_its_line(self) -> None:
        selection = self.model.selection
        assert selection.cursor == (selection.visible[selection.position] if selection.visible else "")

    @invariant()
    def what_is_meant_is_there(self) -> None:
        meant = self.model.selected()
        assert len(set(meant)) == len(meant)
        assert set(meant) <= self.model.rows.keys()


TestAnyTable = AnyTable.TestCase


@given(st.lists(st.tuples(NAMES, FIGURES), min_size=1, max_size=12))
def test_the_same_rows_have_the_same_order_however_they_came(rows: list[tuple[str, float | None]]) -> None:
    last = {name: Host(name, cpu) for name, cpu in rows}
    one, other = model_of(*last.values(), sort="cpu"), model_of(*reversed(last.values()), sort="cpu")
    assert list(one.visible) == list(other.visible)

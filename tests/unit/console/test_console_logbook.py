"""A log book keeps lines as they came, under numbers that stay with them, in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gamenode_console.loglines import Origin
from gamenode_console.model.logbook import BookState, LogBook, step_name

A, B = Origin("eu-1", "pull", 1, 1), Origin("eu-2", "install", 2, 1)

_BYTES = st.binary(max_size=40).map(lambda data: data.replace(b"x", b"\n"))
_PUTS = st.lists(st.tuples(st.sampled_from([A, B]), st.one_of(_BYTES, st.just(b"a line\n" * 9))), max_size=40)


def lines(book: LogBook) -> list[tuple[Origin, bytes]]:
    found = []
    for seq in range(book.first, book.last + 1):
        line = book.line(seq)
        assert line is not None
        assert line.seq == seq
        found.append((line.origin, line.data))
    return found


@given(_PUTS)
def test_lines_come_out_as_they_went_in_wherever_their_bytes_were_cut(puts: list[tuple[Origin, bytes]]) -> None:
    book = LogBook()
    whole: dict[Origin, bytes] = {A: b"", B: b""}
    for origin, data in puts:
        book.put(origin, 0.0, data)
        whole[origin] += data
    for origin, data in whole.items():
        expected = data.split(b"\n")
        if not expected[-1]:
            expected.pop()
        assert [line for of, line in lines(book) if of == origin] == expected
    assert book.received == sum(map(len, whole.values()))


@given(_PUTS, st.integers(600, 3_000))
def test_numbers_stay_with_their_lines_and_memory_is_bounded(puts: list[tuple[Origin, bytes]], memory: int) -> None:
    book = LogBook(memory=memory, max_line=64)
    known: dict[int, bytes] = {}
    first = 0
    for origin, data in puts:
        book.put(origin, 0.0, data)
        assert book.first >= first, "what has gone does not come back"
        first = book.first
        assert book.held <= memory + 64 + len(data) + 400, "one put more than what it may hold"
        for seq in range(book.first, book.last + 1):
            line = book.line(seq)
            assert line is not None
            if seq in known:
                assert line.data.startswith(known[seq]), "a line may grow, and nothing else"
            known[seq] = line.data
    assert book.line(first - 1) is None
    assert book.line(book.last + 1) is None


def test_a_line_that_grows_keeps_its_number_and_others_come_behind_it() -> None:
    book = LogBook()
    book.put(A, 1.0, b"50")
    book.put(B, 1.0, b"whole\n")
    book.put(A, 2.0, b" %\n100 %")
    first, second, third = (book.line(seq) for seq in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.data, first.partial) == (b"50 %", False)
    assert (second.origin, second.data) == (B, b"whole")
    assert (third.data, third.partial) == (b"100 %", True)


def test_a_line_without_end_is_cut_into_parts() -> None:
    book = LogBook(max_line=10)
    book.put(A, 0.0, b"0123456789" * 3 + b"\nnext\n")
    assert [data for _, data in lines(book)] == [b"0123456789"] * 3 + [b"", b"next"] or [
        data for _, data in lines(book)
    ] == [b"0123456789"] * 3 + [b"next"]


def test_notes_stand_between_lines_and_end_what_was_unfinished() -> None:
    book = LogBook()
    book.put(A, 0.0, b"unfin")
    book.note(A, 0.0, "[3 lines are missing]", "bad")
    book.put(A, 0.0, b"ished\n")
    assert [data for _, data in lines(book)] == [b"unfin", b"[3 lines are missing]", b"ished"]
    note = book.line(1)
    assert note is not None
    assert note.note == "bad"


def test_what_was_not_asked_for_and_how_it_stands_is_told() -> None:
    book = LogBook()
    version = book.version
    book.lacks(4096)
    book.lacks(0)
    book.say(BookState.FOLLOWING, 5.0)
    book.say(BookState.FOLLOWING, 9.0, "slowly")
    assert (book.earlier, book.status.since, book.status.text) == (4096, 5.0, "slowly")
    assert book.version > version
    assert (len(book), book.first, book.last) == (0, 0, -1)


def test_a_later_attempt_has_its_number() -> None:
    assert (step_name(A), step_name(B)) == ("pull", "install#2")

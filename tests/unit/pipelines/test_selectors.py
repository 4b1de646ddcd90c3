"""Label selectors: Kubernetes' grammar and meaning."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines import selectors
from gamenode_pipelines.errors import Code, GameNodeError

NODE = {"role": "game", "region": "eu", "cores": "16", "gpu": "", "example.com/tier": "gold"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("  ", True),
        ("role=game", True),
        ("role==game", True),
        ("role = game", True),
        ("role=web", False),
        ("role!=web", True),
        ("absent!=web", True),
        ("absent=web", False),
        ("region in (eu,us)", True),
        ("region in ( us , asia )", False),
        ("region notin (us)", True),
        ("absent notin (us)", True),
        ("absent in (us)", False),
        ("gpu", True),
        ("!gpu", False),
        ("! legacy", True),
        ("gpu=", True),
        ("role=", False),
        ("gpu in (,x)", True),
        ("cores>8", True),
        ("cores>16", False),
        ("cores<17", True),
        ("role>8", False),
        ("absent>8", False),
        ("example.com/tier=gold,role=game,!legacy", True),
        ("role=game,region=us", False),
        ("in in (a)", False),
        ("region in (eu,us),tier!=test,!legacy,gpu,cores>8", True),
    ],
)
def test_a_selector_matches_as_in_kubernetes(text: str, matches: bool) -> None:
    assert selectors.parse(text).matches(NODE) is matches


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("=a", 0, "expected a label's key"),
        ("a,", 2, "expected a label's key, found nothing"),
        ("a in", 4, "expected '('"),
        ("a in ()", 5, "at least one value"),
        ("a in (x", 7, "expected ',' or ')'"),
        ("a b", 2, "expected one of"),
        ("a=b c", 4, "expected ',' or the end"),
        ("a>b", 2, "whole number"),
        ("a>-5", 2, "whole number"),
        ("-a", 0, "label key"),
        ("a/b/c=d", 0, "DNS name"),
        ("a=b$", 2, "label value"),
        ("a=" + "x" * 64, 2, "label value"),
        ("A/b=c", 0, "DNS name"),
        ("!a=b", 2, "expected ',' or the end"),
        ("x" * 5000, 0, "characters"),
    ],
)
def test_a_wrong_selector_is_refused_where_it_is_wrong(text: str, offset: int, words: str) -> None:
    with pytest.raises(selectors.SelectorError) as caught:
        selectors.parse(text)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.offset == offset
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "a"),
        ("a", "-"),
        ("a" * 64, ""),
        ("_a", ""),
        ("x/", ""),
        ("/x", ""),
        ("a", "b c"),
        ("a\n", ""),
        ("ключ", ""),
    ],
)
def test_labels_follow_kubernetes_rules(key: str, value: str) -> None:
    with pytest.raises(GameNodeError):
        selectors.validate_label(key, value)


def test_good_labels_pass() -> None:
    selectors.validate_label("example.com/tier", "gold_1.x-y")
    selectors.validate_label("a", "")


KEYS = st.sampled_from(["a", "b", "in", "x.io/c"])
VALUES = st.sampled_from(["", "1", "5", "10", "eu", "notin"])
NUMBERS = st.integers(0, 12)
Case = tuple[str, Callable[[dict[str, str]], bool]]


def _case(text: str, holds: Callable[[dict[str, str]], bool]) -> Case:
    return text, holds


def _compares(key: str, sign: str, number: int) -> Case:
    compare = operator.gt if sign == ">" else operator.lt

    def holds(labels: dict[str, str]) -> bool:
        try:
            return bool(compare(int(labels.get(key, "")), number))
        except ValueError:
            return False

    return _case(f"{key}{sign}{number}", holds)


#: Each requirement with what it means, written a second time and differently.
REQUIREMENTS = st.one_of(
    st.builds(lambda k: _case(k, lambda labels: k in labels), KEYS),
    st.builds(lambda k: _case(f"!{k}", lambda labels: k not in labels), KEYS),
    st.builds(
        lambda k, s, v: _case(f"{k}{s}{v}", lambda labels: labels.get(k) == v),
        KEYS,
        st.sampled_from(["=", "==", " = "]),
        VALUES,
    ),
    st.builds(lambda k, v: _case(f"{k}!={v}", lambda labels: labels.get(k) != v), KEYS, VALUES),
    st.builds(
        lambda k, vs: _case(f"{k} in ({', '.join(vs)})", lambda labels: any(labels.get(k) == v for v in vs)),
        KEYS,
        st.lists(VALUES.filter(bool), min_size=1, max_size=3),
    ),
    st.builds(
        lambda k, vs: _case(f"{k} notin ({','.join(vs)})", lambda labels: all(labels.get(k) != v for v in vs)),
        KEYS,
        st.lists(VALUES.filter(bool), min_size=1, max_size=3),
    ),
    st.builds(_compares, KEYS, st.sampled_from("<>"), NUMBERS),
)


@given(st.lists(REQUIREMENTS, min_size=1, max_size=4), st.dictionaries(KEYS, VALUES))
def test_selectors_agree_with_an_independent_evaluation(cases: list[Case], labels: dict[str, str]) -> None:
    selector = selectors.parse(",".join(text for text, _ in cases))
    assert selector.matches(labels) is all(holds(labels) for _, holds in cases)
    assert selectors.parse(str(selector)) == selector


@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    try:
        selector = selectors.parse(text)
    except selectors.SelectorError as error:
        offset = error.offset
    else:
        offset = 0
        assert selectors.parse(str(selector)) == selector
    assert 0 <= offset <= len(text)

"""Other keys, as the config file gives them, are checked before anything is drawn."""

from __future__ import annotations

import pytest

from gamenode_console.keys import GROUPS, KEYS, checked_keymap
from gamenode_pipelines.errors import GameNodeError


def test_every_key_has_one_meaning_in_its_group_and_a_title() -> None:
    assert checked_keymap({}) == {}
    for group in GROUPS:
        taken = [word for key in KEYS if key.group == group for word in key.keys.split(",")]
        assert len(taken) == len(set(taken)), group
    assert {key.group for key in KEYS} <= set(GROUPS)
    assert len({key.id for key in KEYS}) == len(KEYS)


def test_others_are_taken_as_they_are() -> None:
    assert checked_keymap({"app.quit": "ctrl+x", "table.up": "up,i,K"} | {"table.invert": "I"}) == {
        "app.quit": "ctrl+x",
        "table.up": "up,i,K",
        "table.invert": "I",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"app.quitt": "x"}, "there is no key 'app.quitt'; did you mean 'app.quit'?"),
        ({"app.quit": ""}, "app.quit: give one or more keys"),
        ({"app.quit": "x,,y"}, "app.quit: give one or more keys"),
        ({"table.up": "space"}, "'space' would be both table.up and table.mark"),
    ],
)
def test_what_cannot_be_is_named(given: dict[str, str], said: str) -> None:
    with pytest.raises(GameNodeError) as wrong:
        checked_keymap(given)
    assert said in wrong.value.message

"""What a style word looks like: the one place where words become colours of the theme.

Colour is never all there is: what is bad or wants attention is bold as well, what matters little is dim, and where a
terminal has no colours or only its own sixteen, the cursor is reversed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rich.style import Style
from textual.app import App
from textual.color import Color

from gamenode_console.tables import COLOURS

#: Style word of a state, by the colour that it has on the command line.
_KINDS: Mapping[str, str] = {
    "green": "good",
    "cyan": "accent",
    "yellow": "warn",
    "magenta": "alert",
    "red": "bad",
    "bright_black": "dim",
}
_VARIABLES = (
    "background",
    "foreground",
    "panel",
    "primary",
    "text-success",
    "text-warning",
    "text-error",
    "text-accent",
    "text-primary",
    "text-secondary",
)


def rich_style(app: App[Any], word: str) -> Style:
    """The look of a style word in the app's theme; nothing of its own for a word that says nothing."""
    return palette(app).get(kind(word), Style.null())


def kind(word: str) -> str:
    """What a state is like: `failed` is `bad`. Other words are themselves."""
    return _KINDS.get(COLOURS.get(word, ""), word)


def palette(app: App[Any]) -> Mapping[str, Style]:
    """Every look of the app's theme: `good`, `warn`, `bad`, `alert`, `accent`, `dim`; `header`, `sorted`, `mark`,
    `cursor`, `cursor-idle` and `hit` of what is drawn around them.
    """
    variables = app.theme_variables
    return _palette(tuple(variables[name] for name in _VARIABLES), app.native_ansi_color, app.no_color)


@lru_cache(maxsize=16)
def _palette(values: tuple[str, ...], ansi: bool, no_color: bool) -> Mapping[str, Style]:
    colours = dict(zip(_VARIABLES, map(Color.parse, values), strict=True))

    def text(name: str, bold: bool | None = None) -> Style:
        return Style(color=colours[name].rich_color, bold=bold)

    looks = {
        "good": text("text-success"),
        "warn": text("text-warning"),
        "alert": text("text-secondary", bold=True) if not ansi else Style(color="magenta", bold=True),
        "bad": text("text-error", bold=True),
        "accent": text("text-accent") if not ansi else Style(color="cyan"),
        "mark": text("text-warning", bold=True),
    }
    if ansi or no_color:
        return looks | {
            "dim": Style(dim=True),
            "header": Style(bold=True, underline=True),
            "sorted": Style(bold=True, underline=True),
            "cursor": Style(reverse=True),
            "cursor-idle": Style(bold=True, underline=True),
            "hit": Style(reverse=True),
        }
    ground = colours["background"]
    return looks | {
        "dim": Style(color=ground.blend(colours["foreground"], 0.6, alpha=1).rich_color),
        "header": Style(bgcolor=colours["panel"].rich_color, bold=True),
        "sorted": text("text-accent", bold=True),
        "cursor": Style(bgcolor=ground.blend(colours["primary"], 0.4, alpha=1).rich_color, bold=True),
        "cursor-idle": Style(bgcolor=ground.blend(colours["primary"], 0.15, alpha=1).rich_color),
        "hit": Style(color=ground.rich_color, bgcolor=colours["text-warning"].rich_color),
    }

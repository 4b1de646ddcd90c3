"""Screens as pictures and as text: for the documentation, and to be compared with those that were looked at."""

from __future__ import annotations

import io
from html import escape
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.app import App


class Svg(SingleFileSnapshotExtension):
    """One picture a file. Syrupy shows the lines that differ: those of the screen's text come first."""

    file_extension = "svg"
    _write_mode = WriteMode.TEXT


def code_format() -> str:
    """How a picture is made of a screen: without fonts from elsewhere."""
    before, _, rest = CONSOLE_SVG_FORMAT.partition("@font-face")
    after = rest[rest.index(".{unique_id}-matrix") :]
    own = (before + after).replace("Fira Code, monospace", "'DejaVu Sans Mono', Menlo, Consolas, monospace")
    # Some programs trim a text that begins with spaces, even with those that do not break.
    return own.replace('<g class="{unique_id}-matrix">', '<g class="{unique_id}-matrix" xml:space="preserve">')


def text(app: App[Any]) -> str:
    """What is on the screen, without colours."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


def svg(app: App[Any], *, name: str, title: str) -> str:
    """The screen as an SVG document; what it says is in its description too, for readers and for comparing."""
    width, height = app.size
    console = Console(
        record=True,
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(app.screen._compositor.render_update(full=True))
    drawn = console.export_svg(title=title, code_format=code_format(), unique_id=name)
    lines = [line.rstrip() for line in drawn.splitlines()]
    return "\n".join([lines[0], f"<desc>{escape(text(app))}</desc>", *lines[1:]]) + "\n"

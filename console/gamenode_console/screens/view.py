"""What every view has: the head line, its own body, the prompt and the keys; and how it hears of what has changed.

A view that is shown hears of changes at each beat of the app's one timer; one that is not hears nothing, and takes over
everything when it is shown again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Footer

from gamenode_console.model.world import Changes, World
from gamenode_console.widgets.header import Header
from gamenode_console.widgets.prompt import Prompt, Question
from gamenode_console.widgets.tight import TightCompositor

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp


class View(Screen[None]):
    """One of the screens that digits open, or one that is opened on top of it."""

    DEFAULT_CSS = "View #bottom { dock: bottom; height: auto; } View Footer { dock: none; }"
    #: What the head line calls it.
    NAME: ClassVar[str] = ""
    #: Groups of keys for the help, besides those of the focused pane.
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ()

    #: Every pane is there.
    ready = False

    def __init__(self) -> None:
        super().__init__()
        self._compositor = TightCompositor()

    @property
    def console(self) -> ConsoleApp:
        """The app."""
        return cast("ConsoleApp", self.app)

    @property
    def world(self) -> World:
        """What is known of the fleet."""
        return self.console.world

    def compose(self) -> ComposeResult:
        """The frame around the body."""
        yield Header()
        yield from self.body()
        with Vertical(id="bottom"):
            yield Prompt()
            yield Footer(compact=True, show_command_palette=False)

    def body(self) -> ComposeResult:
        """What the view shows."""
        raise NotImplementedError

    @property
    def title_text(self) -> str:
        """What the head line says of where one is."""
        return self.NAME

    def refill(self, everything: Changes, now: float) -> None:
        """Takes over all there is: at first, and whenever the view is shown again."""

    def changed(self, changes: Changes, now: float) -> None:
        """Takes over what has changed while the view is shown."""

    def beat(self, now: float) -> None:
        """Draws what is due, about ten times a second while the view is shown."""

    @property
    def prompt(self) -> Prompt:
        """The line where things are typed."""
        return self.query_one(Prompt)

    def ask(self, question: Question) -> None:
        """Asks for a line of text."""
        self.prompt.ask(question)

    def on_mount(self) -> None:
        """Its panes are there: from here on it can be filled and drawn."""
        self.ready = True
        self.on_screen_resume()

    def when_ready(self, do: Callable[[], None]) -> None:
        """Does something as soon as the view's panes are there."""
        if self.ready:
            do()
        else:
            self.call_after_refresh(self.when_ready, do)

    def on_screen_resume(self) -> None:
        """It is shown again."""
        if not self.ready:
            return
        self.refill(self.world.everything(), self.console.now())
        self.beat(self.console.now())

    # -- what the app's keys do here ----------------------------------------------------------------------------------

    def go_back(self) -> bool:
        """Takes back the last thing that was done to the view (a filter, a search); false: there is nothing to."""
        return False

    def exported(self, kind: str = "") -> tuple[str, str] | None:
        """What is shown, as a file's name and its text; None where there is nothing to write.

        `kind` is how the file that somebody named ends (`json`), where a view can be written in several ways.
        """
        return None

    def filter(self, text: str) -> None:
        """Shows only what matches."""

    def copied(self) -> str:
        """What `copy` takes: the selected line."""
        return ""

    def chosen_nodes(self) -> list[str]:
        """Names of the nodes that are marked or under the cursor: what a pipeline would be started on."""
        return []

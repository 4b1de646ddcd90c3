"""The console: views, the one timer they live by, and the keys that work everywhere.

Knows no connection: what it shows is in the world, what it wants it asks of the core. Nothing here may wait for
either.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from textual.timer import Timer
from textual.widget import Widget
from textual.worker import Worker

from gamenode_console import keys
from gamenode_console.core.asking import Core
from gamenode_console.model import run_columns
from gamenode_console.model.glyphs import ASCII, UTF8, Glyphs
from gamenode_console.model.headline import Part
from gamenode_console.model.world import LinkState, World
from gamenode_console.options import Farewell, Options
from gamenode_console.screens.commanding import Commanding, PaletteCommands
from gamenode_console.screens.help import Help
from gamenode_console.screens.keeping import Keeping
from gamenode_console.screens.leaving import Leaving
from gamenode_console.screens.operations import Operations
from gamenode_console.screens.steering import Steering
from gamenode_console.screens.view import View
from gamenode_console.screens.views import VIEWS
from gamenode_console.terminal.driver import PatientApp
from gamenode_console.terminal.pace import Pace
from gamenode_console.widgets.header import Header
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process.clock import Clock


class ConsoleApp(PatientApp[Farewell]):
    """The whole console. Ends with how it was left."""

    TITLE = "GameNode"
    CSS_PATH = "console.tcss"
    COMMAND_PALETTE_BINDING = "ctrl+p"
    COMMANDS = {PaletteCommands}
    BINDINGS = [*keys.bindings("app")]
    MODES = dict(VIEWS)
    DEFAULT_MODE = "fleet"
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (100, "-normal"), (140, "-large")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-medium"), (34, "-high")]

    def __init__(
        self,
        core: Core,
        world: World,
        *,
        clock: Clock,
        options: Options,
        started: Callable[[], None] = lambda: None,
        broken: Callable[[], BaseException | None] = lambda: None,
    ) -> None:
        """`started` is called once the first frame was drawn; `broken` says what the core has ended with."""
        super().__init__()
        self.core = core
        self.world = world
        self.options = options
        self.operations = Operations(self)
        self.steering = Steering(self)
        self.commanding = Commanding(self)
        self.keeping = Keeping(self, options.state_dir)
        self._clock = clock
        self._started = started
        self._broken = broken
        self._pace = Pace(options.rate)
        self._rate = options.rate
        self._beating: Timer | None = None
        #: Since when nothing that comes is shown; None: it is.
        self.frozen_at: float | None = None

    # -- what views use -----------------------------------------------------------------------------------------------

    @property
    def utf8(self) -> bool:
        """Whether the terminal can show more than ASCII."""
        return self.options.utf8

    @property
    def glyphs(self) -> Glyphs:
        """The signs that the terminal can show."""
        return UTF8 if self.utf8 else ASCII

    def set_rate(self, rate: float) -> None:
        """Beats so often a second from now on, and more slowly where the terminal does not keep up."""
        self._pace.wanted = rate
        self._go_at(self._pace.rate)

    def _go_at(self, rate: float) -> None:
        if self._beating is not None:
            self._beating.stop()
        self._rate = rate
        self._beating = self.set_interval(1 / rate, self.beat, name="beat")

    def frame_skipped(self) -> None:
        """Counts it."""
        self._pace.skip()

    def caught_up(self) -> None:
        """Shows at once what is true now."""
        super().caught_up()
        self.beat()

    def now(self) -> float:
        """Unix seconds."""
        return self._clock.now()

    def notes(self) -> list[Part]:
        """What the head line says besides: a slow link, a lower rate, read-only, frozen."""
        found: list[Part] = []
        if slow := self._pace.said(self.now()):
            found.append((f" {slow} ", "warn"))
        elif self._rate < self.options.rate:
            found.append((f" {self._rate:g}/s ", "dim"))
        if self.options.read_only:
            found.append((" READ-ONLY ", "warn"))
        if self.frozen_at is not None:
            found.append((f" FROZEN {self.now() - self.frozen_at:.0f}s ", "warn"))
        return found

    @property
    def stale(self) -> bool:
        """What is shown may no longer be so."""
        return self.world.link.state is LinkState.LOST

    def work(self, doing: Callable[[], Coroutine[Any, Any, None]], *, group: str) -> None:
        """Does something beside the screen. A newer one of a group ends the older; what fails is told."""

        async def told() -> None:
            try:
                await doing()
            except GameNodeError as error:
                self.complain(error)

        _: Worker[None] = self.run_worker(told, group=group, exclusive=True, exit_on_error=False)

    def complain(self, error: GameNodeError) -> None:
        """Says what went wrong."""
        self.notify(error.message, title=str(error.code).replace("_", " "), severity="error", timeout=10, markup=False)

    def tell(self, text: str) -> None:
        """Says that something was done."""
        self.notify(text, markup=False)

    def show(self, view: View) -> None:
        """Opens a view on top of the one that is shown."""
        self.push_screen(view)

    # -- the beat -----------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """The one timer starts."""
        self.theme = self.options.theme
        if self.options.keymap:
            self.set_keymap(dict(self.options.keymap))
        self._go_at(self._rate)
        self.call_after_refresh(self._started)

    def hang_up(self) -> None:
        """The terminal is gone, or somebody asked for the end. From a signal handler."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.exit, Farewell.HANGUP)

    def beat(self) -> None:
        """Takes what has changed and shows it."""
        if (failure := self._broken()) is not None:
            raise RuntimeError(f"the core has ended with {type(failure).__name__}: {failure}") from failure
        if (rate := self._pace.beat(self.now())) != self._rate:
            self._go_at(rate)
        view = self.shown_view
        if view is None or not view.ready or not self.is_running:
            return
        now = self.now()
        changes = self.world.take()  # also while frozen, or they would pile up: afterwards everything is taken over
        if self.frozen_at is None:
            if changes.any:
                view.changed(changes, now)
            view.beat(now)
        for header in view.query(Header):
            header.beat(now)

    @property
    def shown_view(self) -> View | None:
        """The view on top, below questions that are asked over it."""
        if not self._screen_stacks.get(self._current_mode):
            return None
        return next((each for each in reversed(self.screen_stack) if isinstance(each, View)), None)

    # -- keys that work everywhere ------------------------------------------------------------------------------------

    def action_view(self, name: str) -> None:
        """Shows one of the views, as it was left."""
        self.switch_mode(name)

    async def action_back(self) -> None:
        """Takes back the last thing, closes what is open, or asks whether to leave."""
        view = self.shown_view
        if view is not None and view.go_back():
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.action_ask_quit()

    def action_ask_quit(self) -> None:
        """Asks how to leave."""
        in_progress = sum(not run_columns.has_ended(run) for run in self.world.run_list())
        self.push_screen(Leaving(embedded=self.world.link.embedded, in_progress=in_progress), self._leave)

    def _leave(self, how: Farewell | None) -> None:
        if how is not None:
            self.exit(how)

    def action_help(self) -> None:
        """Shows the keys that work here."""
        view = self.shown_view
        groups = [*_groups_of(self.focused), *(view.KEY_GROUPS if view is not None else ()), "app"]
        title = view.NAME if view is not None else "GameNode"
        self.push_screen(Help(title, list(dict.fromkeys(groups)), self.options.keymap))

    def action_command(self) -> None:
        """Asks for a command."""
        if (view := self.shown_view) is not None:
            view.ask(self.commanding.question())

    def action_trigger(self) -> None:
        """Asks what to start on the nodes that are chosen."""
        view = self.shown_view
        self.operations.trigger(nodes=view.chosen_nodes() if view is not None else [])

    def action_freeze(self) -> None:
        """Stops showing what comes, or shows it again."""
        if self.frozen_at is None:
            self.frozen_at = self.now()
            return
        self.frozen_at = None
        if (view := self.shown_view) is not None:
            view.refill(self.world.everything(), self.now())

    def action_maximise(self) -> None:
        """Gives the pane with the focus the whole screen, or back."""
        screen = self.screen
        if screen.maximized is not None:
            screen.minimize()
        elif screen.focused is not None:
            screen.maximize(screen.focused)

    def action_export(self) -> None:
        """Writes what is shown to a file."""
        self.keeping.export(self.shown_view)

    def action_copy(self) -> None:
        """Copies the selected line."""
        if (view := self.shown_view) is not None and (text := view.copied()):
            self.keeping.copy(text)

    def action_redraw(self) -> None:
        """Draws everything anew."""
        self.refresh(layout=True, repaint=True)
        self.screen.refresh(layout=True, repaint=True)

    def action_mouse(self) -> None:
        """Lets the terminal have its mouse back, or takes it."""
        self.keeping.switch_mouse()


def _groups_of(widget: Widget | None) -> list[str]:
    """The key groups of a pane: those its bindings have ids of."""
    if widget is None:
        return []
    return list(dict.fromkeys(each.id.partition(".")[0] for _, each in widget._bindings if each.id))

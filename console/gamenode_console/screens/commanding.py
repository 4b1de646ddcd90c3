"""What typed commands do, and the palette that offers them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.suggester import Suggester

from gamenode_console.model import commandline
from gamenode_console.model.commandline import COMMANDS, Command, Line
from gamenode_console.screens.operations import OUTCOMES
from gamenode_console.screens.steering import BEFORE
from gamenode_console.widgets.prompt import Question
from gamenode_pipelines.errors import Code, GameNodeError

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp


class Commanding:
    """Reads what is typed and has it done."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self._history: list[str] = []

    def question(self, value: str = "") -> Question:
        """The command line, to be asked."""
        return Question(
            ":",
            value,
            done=self.do,
            history=self._history,
            suggester=_Proposals(self),
            placeholder="a command; tab completes",
        )

    def names(self, kind: str) -> Iterable[str]:
        """What there is of a kind that a command takes."""
        world = self._app.world
        match kind:
            case "node":
                return (node.name for node in world.node_list())
            case "run":
                return (run.id for run in world.run_list())
            case "pipeline":
                return {run.pipeline for run in world.run_list()} | set(self._app.operations.pipelines)
            case "theme":
                return self._app.available_themes
            case "outcome":
                return OUTCOMES
            case _:
                return ()

    def do(self, text: str) -> str:
        """Does a command; what is wrong with it, or nothing."""
        if not text.strip():
            return ""
        try:
            line = commandline.read(text)
            if line.command.changes:
                self._app.operations.may_change()
            self._do(line)
        except GameNodeError as error:
            return error.message
        return ""

    def _do(self, line: Line) -> None:
        app, operations, words = self._app, self._app.operations, list(line.words)
        match line.command.name:
            case "fleet" | "nodes" | "pipelines" | "runs" | "events" as name:
                self.open_view(name, " ".join(words))
            case "node":
                operations.open_node(operations.node(words[0]).id)
            case "run":
                operations.open_run(words[0])
            case "logs":
                operations.open_log(words[0])
            case "trigger":
                operations.trigger(words[0] if words else "", nodes=words[1:])
            case "cancel":
                operations.cancel(words)
            case "retry":
                operations.retry(words[0])
            case "cordon" | "uncordon" as name:
                operations.cordon([operations.node(word) for word in words], back=name == "uncordon")
            case "label":
                operations.label([operations.node(words[0])], words[1:])
            case "resolve":
                operations.resolve(words[0], words[1], words[2], " ".join(words[3:]))
            case "pause":
                app.steering.pause(words[0], " ".join(words[1:]))
            case "resume":
                app.steering.resume(words[0])
            case "approve":
                step, node = words[1] if len(words) > 1 else BEFORE, words[2] if len(words) > 2 else ""
                app.steering.decide(words[0], step, node, approved=True)
            case "reject":
                app.steering.decide(words[0], words[1], "", approved=False, reason=" ".join(words[2:]))
            case "drain":
                app.steering.drain(words[0], words[1] if len(words) > 1 else "")
            case "enrol":
                operations.enrol()
            case "export":
                app.keeping.export(app.shown_view, words[0] if words else "")
            case "theme":
                self._theme(words)
            case "rate":
                self._rate(words[0])
            case "help":
                app.action_help()
            case "quit":
                app.action_ask_quit()

    def open_view(self, name: str, words: str) -> None:
        """Shows one of the views, with what matches."""
        self._app.work(partial(self._open_view, name, words), group="view")

    async def _open_view(self, name: str, words: str) -> None:
        await self._app.switch_mode(name)
        view = self._app.shown_view
        if view is not None and words:
            view.when_ready(partial(view.filter, words))

    def _theme(self, words: list[str]) -> None:
        app = self._app
        if not words:
            app.action_change_theme()
            return
        if words[0] not in app.available_themes:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"there is no theme {words[0]!r}: {', '.join(sorted(app.available_themes))}"
            )
        app.theme = words[0]

    def _rate(self, word: str) -> None:
        try:
            rate = float(word)
        except ValueError:
            rate = 0.0
        if not 0.2 <= rate <= 30:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{word!r}: between 0.2 and 30 times a second")
        self._app.set_rate(rate)


class _Proposals(Suggester):
    """How a typed command may go on."""

    def __init__(self, commanding: Commanding) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._commanding = commanding

    async def get_suggestion(self, value: str) -> str | None:
        """The whole line as it may go on."""
        return commandline.goes_on(value, self._commanding.names) or None


class PaletteCommands(Provider):
    """The commands, for those who would rather search than remember."""

    @property
    def _console(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def _begin(self, command: Command) -> None:
        app = self._console
        if command.needs or "pipeline" in command.takes:
            view = app.shown_view
            if view is not None:
                view.ask(app.commanding.question(f"{command.name} "))
        elif problem := app.commanding.do(command.name):
            app.notify(problem, severity="error", markup=False)

    def _offered(self) -> list[Command]:
        read_only = self._console.options.read_only
        return [each for each in COMMANDS if not (read_only and each.changes)]

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for command in self._offered():
            yield DiscoveryHit(command.usage or command.name, partial(self._begin, command), help=command.text)

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for command in self._offered():
            score = max(matcher.match(command.name), matcher.match(command.text))
            if score > 0:
                shown = command.usage or command.name
                yield Hit(score, matcher.highlight(shown), partial(self._begin, command), help=command.text)

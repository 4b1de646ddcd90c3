"""`run watch` on a terminal: the live table of tasks × steps with the log beneath. Draws what `live` decides."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from gamenode_console import live, loglines, outcomes, texts, words
from gamenode_console.cli.client import Client
from gamenode_console.cli.following import Outcome, one_error
from gamenode_console.documents import runs
from gamenode_console.tables import COLOURS
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

#: At most this often is drawn, in seconds; and this long at most nothing is, because times grow.
_FRAME, _TICK = 0.1, 0.5
_KEPT_LINES = 500
#: Lines that are neither tasks nor log: title, head of the table, summary, rule, hint.
_FRAME_LINES = 5


class LiveView:
    """What is on the screen: the run's model and the last lines of its logs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.model = live.LiveRun()
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.notice = ""
        self.dirty = asyncio.Event()

    def render(self, now: float) -> Group:
        """Everything that fits into the terminal as it is now."""
        width, height = self.console.size
        body = max(2, height - _FRAME_LINES)
        tasks = len(self.model.tasks)
        # The log gets what the table does not need, and a third at least.
        room = max(1, min(tasks + 1, body - max(1, body // 3)))
        view = self.model.view(room=room, now=now)
        run = self.model.run
        title = Text(view.title, style="bold", no_wrap=True, overflow="ellipsis")
        parts: list[Text | Rule] = [title, *self._table(view, width)]
        if view.hidden:
            parts.append(Text(view.hidden, style="dim", no_wrap=True, overflow="ellipsis"))
        parts.append(Text(view.summary, no_wrap=True, overflow="ellipsis"))
        parts.append(Rule("log", style="dim", characters="─" if self._unicode else "-"))
        log_room = max(0, height - len(parts) - 1)
        newest = list(self.lines)[-log_room:] if log_room else []
        parts.extend(Text(line, no_wrap=True, overflow="ellipsis") for line in newest)
        parts.extend(Text("") for _ in range(log_room - len(newest)))
        hint = (
            self.notice or f"Ctrl-C leaves; the run goes on. To end it: gamenode run cancel {run['id'] if run else ''}"
        )
        parts.append(Text(hint, style="yellow" if self.notice else "dim", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)

    @property
    def _unicode(self) -> bool:
        return self.console.encoding.lower().startswith("utf")

    def _table(self, view: live.View, width: int) -> list[Text]:
        """One line a task: node, state, a symbol a step, what it does now, how long."""
        node_width = min(24, max([4, *(len(row.node) for row in view.rows)]))
        steps = max([5, *(len(row.steps) for row in view.rows)])
        steps = min(steps, max(5, width // 3))
        head = f"{'NODE':<{node_width}}  {'STATE':<15}  {'STEPS':<{steps}}  {'TOOK':>7}  NOW"
        lines = [Text(head, style="bold", no_wrap=True, overflow="ellipsis")]
        for row in view.rows:
            line = Text(f"{row.node[:node_width]:<{node_width}}  ", no_wrap=True, overflow="ellipsis")
            line.append(f"{row.state:<15}  ", style=COLOURS.get(row.state, ""))
            for state in row.steps[-steps:]:
                symbol = live.SYMBOLS.get(state, ("?", "?"))[0 if self._unicode else 1]
                line.append(symbol, style=COLOURS.get(state, ""))
            line.append(" " * (steps - min(steps, len(row.steps))))
            line.append(f"  {row.took:>7}  {row.now}")
            lines.append(line)
        return lines


async def watch(client: Client, gateway: Gateway, run_id: str) -> Outcome:
    """Shows a run until it has ended and its logs have settled; then prints how it stands on the plain screen."""
    console = Console(file=sys.stdout, highlight=False, no_color=bool(client.env.get("NO_COLOR")) or None)
    view = LiveView(console)
    client.notify = lambda text: _notice(view, text)  # type: ignore[method-assign]  # stderr would tear the screen
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as screen:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, view.dirty.set)
        try:
            async with one_error(), asyncio.TaskGroup() as group:
                painter = group.create_task(_paint(view, screen))
                reader = group.create_task(_read_logs(view, gateway, run_id))
                await _read_run(view, gateway, run_id)
                await reader
                painter.cancel()
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
    run = view.model.run
    if run is None:
        raise GameNodeError(Code.DISCONNECTED, f"the server said nothing of run {run_id}")
    last = view.model.view(room=max(1, console.size.height - 4), now=wall_clock())
    for part in (Text(last.title, style="bold"), *view._table(last, console.size.width)):
        console.print(part, soft_wrap=False, overflow="ellipsis", no_wrap=True)
    return Outcome(dict(run), outcomes.exit_of(run["state"]) or ExitCode.OK)


def _notice(view: LiveView, text: str) -> None:
    view.notice = "" if text == "connected again" else texts.one_line(text)
    view.dirty.set()


async def _read_run(view: LiveView, gateway: Gateway, run_id: str) -> None:
    async for update in gateway.pipelines.watch_run(run_id):
        view.model.apply(runs.run_update(update))
        view.dirty.set()
        if words.run_state(update.run.state) in outcomes.ENDED and update.ended:
            return


async def _read_logs(view: LiveView, gateway: Gateway, run_id: str) -> None:
    cutter = loglines.LineCutter()
    style = loglines.Style(nodes=True, steps=True, inert=True)

    def take(found: loglines.Line | loglines.Ended) -> None:
        if isinstance(found, loglines.Line):
            view.lines.append(style.render(found).decode().rstrip("\n").expandtabs(4))
        elif not found.complete:
            view.lines.append(f"[log of {style.prefix(found.origin)} is {loglines.summary(found)}]")

    async for piece in gateway.state.log_feed(run_id).pieces(follow=True):
        for item in cutter.feed(piece):
            take(item)
        view.dirty.set()


async def _paint(view: LiveView, screen: Live) -> None:
    while True:
        try:
            async with asyncio.timeout(_TICK):
                await view.dirty.wait()
        except TimeoutError:
            pass  # only times have grown
        view.dirty.clear()
        screen.update(view.render(wall_clock()), refresh=True)
        await asyncio.sleep(_FRAME)

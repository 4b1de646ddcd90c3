"""The line at the bottom where things are typed: filters, searches, commands. One a screen, there only when asked for.

Whoever wants a line of text calls `ask`; the prompt takes the focus, and gives it back afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input, Label


def _nothing(_text: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for. Each function gets the text as it stands and returns what is wrong with it, or nothing."""

    label: str
    value: str = ""
    #: While it is typed.
    changed: Callable[[str], str] = _nothing
    #: With enter. The prompt stays open where something is wrong.
    done: Callable[[str], str] = _nothing
    #: With escape: gets what was there before.
    cancelled: Callable[[str], str] = _nothing
    #: Earlier answers, newest last, for up and down.
    history: list[str] = field(default_factory=list)
    #: Proposes how a text goes on.
    suggester: Suggester | None = None
    placeholder: str = ""


def ask(widget: Widget, question: Question) -> None:
    """Asks for a line of text on a pane's screen, at once: the next key is already part of the answer."""
    widget.screen.query_one(Prompt).ask(question)


class Prompt(Horizontal):
    """The line, hidden until somebody asks."""

    DEFAULT_CSS = """
    Prompt { height: 1; display: none; background: $panel; }
    Prompt.-open { display: block; }
    Prompt Label { width: auto; color: $accent; text-style: bold; padding: 0 1 0 0; }
    Prompt #problem { color: $error; text-style: none; padding: 0 1; }
    Prompt Input, Prompt Input:focus { border: none; height: 1; padding: 0; width: 1fr; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._question: Question | None = None
        self._before: Widget | None = None
        self._place = 0

    def compose(self) -> ComposeResult:
        """A label, the line, and what is wrong with it."""
        yield Label("", id="asked", markup=False)
        yield _Line(select_on_focus=False)
        yield Label("", id="problem", markup=False)

    @property
    def open(self) -> bool:
        """Whether somebody is being asked."""
        return self._question is not None

    def ask(self, question: Question) -> None:
        """Shows the prompt; another question replaces the one that is open."""
        if self._question is None:
            self._before = self.screen.focused
        self._question = question
        self._place = len(question.history)
        line = self.query_one(_Line)
        line.suggester = question.suggester
        line.placeholder = question.placeholder
        self.query_one("#asked", Label).update(question.label)
        self._wrong("")
        self.add_class("-open")
        with line.prevent(Input.Changed):
            line.value = question.value
        line.cursor_position = len(question.value)
        self.screen.set_focus(line)

    def close(self) -> None:
        """Hides the prompt and gives the focus back."""
        self._question = None
        self.remove_class("-open")
        before, self._before = self._before, None
        if before is not None and before.is_mounted:
            self.screen.set_focus(before)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tells who asked what stands there."""
        event.stop()
        if self._question is not None:
            self._wrong(self._question.changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hands the answer over; one that is wrong can be mended."""
        event.stop()
        question = self._question
        if question is None:
            return
        if problem := question.done(event.value):
            self._wrong(problem)
            return
        history, text = question.history, event.value.strip()
        if text and (not history or history[-1] != text):
            history.append(text)
        if self._question is question:  # the answer may have asked another one
            self.close()

    def cancel(self) -> None:
        """Takes the question back."""
        question = self._question
        self.close()
        if question is not None:
            question.cancelled(question.value)

    def remember(self, by: int) -> None:
        """Puts an earlier answer, or a later one, on the line."""
        if self._question is None:
            return
        history = self._question.history
        self._place = max(0, min(len(history), self._place + by))
        line = self.query_one(_Line)
        line.value = history[self._place] if self._place < len(history) else ""
        line.cursor_position = len(line.value)

    def _wrong(self, problem: str) -> None:
        self.query_one("#problem", Label).update(problem)


class _Line(Input):
    """The line itself: up and down go through earlier answers, escape takes the question back, tab completes."""

    def key_escape(self, event: events.Key) -> None:
        event.stop()
        self._prompt.cancel()

    def key_up(self, event: events.Key) -> None:
        event.stop()
        self._prompt.remember(-1)

    def key_down(self, event: events.Key) -> None:
        event.stop()
        self._prompt.remember(1)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "tab":  # not the next pane: the rest of what is proposed
            event.stop()
            event.prevent_default()
            self.action_cursor_right()
            return
        await super()._on_key(event)

    @property
    def _prompt(self) -> Prompt:
        prompt = self.parent
        assert isinstance(prompt, Prompt)
        return prompt

"""The question before something is done: what it reaches, and the safe answer first."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label

from gamenode_console.model.blast import Blast


class Confirm(ModalScreen[bool]):
    """Answers whether to do it. `y` does it where nothing has to be typed; `n` and escape never do."""

    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm > Vertical { width: 70; max-width: 95%; height: auto; max-height: 90%; border: round $warning;
        background: $surface; padding: 0 1; }
    Confirm.-grave > Vertical { border: round $error; }
    Confirm Label { width: 1fr; height: auto; }
    Confirm #question { text-style: bold; padding: 0 0 1 0; }
    Confirm Input { margin: 1 0 0 0; border: tall $error; }
    Confirm Horizontal { height: auto; padding: 1 0 0 0; align-horizontal: right; }
    Confirm Button { margin: 0 0 0 2; min-width: 10; }
    """

    def __init__(self, blast: Blast) -> None:
        super().__init__(classes="-grave" if blast.level >= 3 else "")
        self._blast = blast

    def compose(self) -> ComposeResult:
        """The question, what it reaches, the answers."""
        blast = self._blast
        with Vertical():
            yield Label(blast.question, id="question", markup=False)
            for line in blast.lines:
                yield Label(line, markup=False)
            if blast.typed:
                yield Label(f"Type {blast.typed} to go on:", markup=False)
                yield Input(placeholder=blast.typed, id="typed")
            with Horizontal():
                yield Button(f"No ({'esc' if blast.typed else 'n'})", id="no")
                word = blast.verb if blast.typed else f"{blast.verb} (y)"
                yield Button(word, id="yes", variant="error", disabled=bool(blast.typed))

    def on_mount(self) -> None:
        """The safe answer has the focus, or the line where the count is typed."""
        self.query_one("#typed" if self._blast.typed else "#no").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """What has to be typed opens the way."""
        self.query_one("#yes", Button).disabled = event.value.strip() != self._blast.typed

    def on_input_submitted(self) -> None:
        """Enter does it once the count is right."""
        if not self.query_one("#yes", Button).disabled:
            self.dismiss(True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The answer."""
        self.dismiss(event.button.id == "yes")

    def on_key(self, event: events.Key) -> None:
        """`y`, `n` and escape; the arrows go from one answer to the other."""
        match event.key:
            case "escape":
                self.dismiss(False)
            case "n" if not self._blast.typed:
                self.dismiss(False)
            case "y" if not self._blast.typed:
                self.dismiss(True)
            case "left" | "right" if not isinstance(self.focused, Input):
                self.focus_next("Button")
            case _:
                return
        event.stop()

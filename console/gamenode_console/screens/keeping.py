"""What leaves the console: exports to files, copies to the terminal's clipboard; and the mouse, which copies too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gamenode_console.screens.view import View
from gamenode_console.terminal import clipboard

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp


class Keeping:
    """Writes what is shown, where a person finds it again."""

    def __init__(self, app: ConsoleApp, state_dir: Path) -> None:
        self._app = app
        self._state_dir = state_dir
        self._mouse = app.options.mouse

    def export(self, view: View | None, to: str = "") -> None:
        """Writes what a view shows to a file: as named, or in the state dir under the view's name and the time."""
        found = view.exported(Path(to).suffix.lstrip(".")) if view is not None else None
        if found is None:
            self._app.tell("there is nothing here to write to a file")
            return
        name, text = found
        file = Path(to).expanduser() if to else self._state_dir / "exports" / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            self._app.notify(
                f"{file} cannot be written: {error.strerror or error}", severity="error", timeout=10, markup=False
            )
            return
        self._app.tell(f"written to {file}")

    def copy(self, text: str) -> None:
        """Sends a text to the terminal's clipboard, and keeps it in a file for those terminals that do not take it."""
        kept = clipboard.keep(text, self._state_dir / "clip")
        sent = clipboard.send(self._app, text)
        where = f"; also in {kept}" if kept is not None else ""
        self._app.tell(f"{sent}{where}")

    def switch_mouse(self) -> None:
        """The mouse is the console's, or the terminal's: which then selects and copies text as it does anywhere."""
        self._mouse = not self._mouse
        driver = self._app._driver
        if driver is None:
            return
        if self._mouse:
            driver._enable_mouse_support()  # type: ignore[attr-defined]  # of every driver with a terminal
        else:
            driver._disable_mouse_support()  # type: ignore[attr-defined]
        self._app.tell("the mouse is the console's" if self._mouse else "the mouse is the terminal's: select and copy")

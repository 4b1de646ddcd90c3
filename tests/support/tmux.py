"""A real tmux on a socket of its own: keys go in one at a time, and what comes out is what a person would see."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from support.waiting import until

#: Keys by the names that people write, as tmux calls them.
NAMES = {
    "enter": "Enter",
    "esc": "Escape",
    "tab": "Tab",
    "space": "Space",
    "up": "Up",
    "down": "Down",
    "home": "Home",
    "end": "End",
    "pgup": "PPage",
    "pgdn": "NPage",
}


#: What the window's shell says when the program has ended, before its exit code. (tmux itself may miss the end.)
_ENDED = "the program has ended with"


class Tmux:
    """One window of a tmux server."""

    def __init__(self, socket: Path, size: tuple[int, int]) -> None:
        self._socket = socket
        self.size = size

    async def command(self, *words: str) -> str:
        """What a tmux command prints."""
        process = await asyncio.create_subprocess_exec(
            "tmux",
            "-S",
            str(self._socket),
            *words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, f"tmux {shlex.join(words)}: {err.decode()}"
        return out.decode()

    async def text(self) -> str:
        """What is on the screen now."""
        return await self.command("capture-pane", "-p")

    async def press(self, *keys: str) -> None:
        """Keys by name (`enter`) or as themselves; longer ones are typed as they are."""
        for key in keys:
            if key in NAMES:
                await self.command("send-keys", NAMES[key])
            else:
                await self.command("send-keys", "-l", "--", key)

    async def shows(self, *texts: str, seconds: float = 20.0) -> str:
        """Waits for all of some texts to be on the screen at once; the screen."""
        seen = ""

        async def look() -> bool:
            nonlocal seen
            seen = await self.text()
            return all(text in seen for text in texts)

        try:
            await until(look, seconds=seconds, every=0.1)
        except AssertionError:
            missing = [text for text in texts if text not in seen]
            raise AssertionError(f"{missing} not on the screen:\n{seen}") from None
        return seen

    async def shows_no_more(self, text: str, *, seconds: float = 20.0) -> None:
        """Waits for a text to go."""

        async def look() -> bool:
            return text not in await self.text()

        await until(look, seconds=seconds, every=0.1, what=f"{text!r} to go")

    async def ends(self, *, seconds: float = 20.0) -> int:
        """Waits for the program in the window to end; its exit code. What it wrote last stays on the screen."""
        seen = await self.shows(_ENDED, seconds=seconds)
        return int(seen.rpartition(_ENDED)[2].split()[0])


@asynccontextmanager
async def tmux(
    words: Sequence[str], *, env: Mapping[str, str], size: tuple[int, int] = (120, 40)
) -> AsyncIterator[Tmux]:
    """Runs a program in a window of that size. It is ended with the tmux server, if it has not ended by then."""
    folder = Path(tempfile.mkdtemp(prefix="gn-tmux-"))  # a socket's path is short
    socket = folder / "s"
    config = folder / "conf"
    config.write_text("set -g default-terminal tmux-256color\nset -g status off\n")
    shell = ["sh", "-c", f'"$@"; echo "{_ENDED} $?"; exec cat', "sh"]
    server_env = {
        **{name: value for name, value in env.items() if name not in ("TMUX", "SSH_CONNECTION", "NO_COLOR")},
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
    }
    width, height = size
    start = ["tmux", "-S", str(socket), "-f", str(config), "new-session", "-d", "-x", str(width), "-y", str(height)]
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            [*start, shlex.join([*shell, *words])],
            env=server_env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        yield Tmux(socket, size)
    finally:
        await asyncio.to_thread(
            subprocess.run, ["tmux", "-S", str(socket), "kill-server"], capture_output=True, check=False
        )
        shutil.rmtree(folder, ignore_errors=True)

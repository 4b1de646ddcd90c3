"""Writes the tables of settings into `operating.md`, between their marks, from the settings classes of the programs.

`python docs/settings_table.py` brings the page up to date; a test fails where it is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gamenode_agent.config import AgentSettings
from gamenode_console.settings import ClientSettings, ConsoleSettings
from gamenode_proto.process.settings import settings_of, shown
from gamenode_server.config import ServerSettings

PAGE = Path(__file__).with_name("operating.md")
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"
PROGRAMS: tuple[tuple[str, type[Any]], ...] = (
    ("gamenode-server", ServerSettings),
    ("gamenode-agent", AgentSettings),
    ("gamenode", ClientSettings),
    ("gamenode-console", ConsoleSettings),
)


def tables() -> str:
    """One table a program: key, flag or not, variable, default, meaning."""
    parts = []
    for program, cls in PROGRAMS:
        parts.append(f"**`{program}`**, section `{cls.PROGRAM}` of the config file\n")
        parts.append("| key | flag | variable | default | what it is |\n| --- | --- | --- | --- | --- |")
        for item in settings_of(cls):
            flag = "" if item.hidden else f"`--{item.flag}`"
            default = shown(item)
            cells = (f"`{item.flag}`", flag, f"`{item.variable}`", f"`{default}`" if default else "", item.doc)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts)


def page(text: str) -> str:
    """The page with its tables as they should be."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost its marks {BEGIN.strip()} and {END.strip()}")
    return before + begin + "\n" + tables() + end + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))

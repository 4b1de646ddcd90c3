"""Every key of the console, in one place: what it is called, what it does, and where it works.

Widgets and screens take their bindings from here by group; the help is made from the same table, and every key can be
given another one by its id (`keys:` in the config file's section `console`). Keys that terminals, tmux or flow control
take for themselves are never the only way to anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.wording import nearest


@dataclass(frozen=True, slots=True)
class Key:
    """One binding. `keys` as Textual names them, any of them; `action` is an `action_…` of who takes the group."""

    id: str
    keys: str
    action: str
    #: What it does, for the help: imperative, a few words.
    text: str
    #: A word or two for the footer; empty: not there.
    footer: str = ""

    @property
    def group(self) -> str:
        """Where it works: what stands before the dot of its id."""
        return self.id.partition(".")[0]


#: Titles of the groups in the help.
GROUPS: Mapping[str, str] = {
    "app": "Everywhere",
    "table": "Tables",
    "log": "Logs",
    "fleet": "Fleet",
    "nodes": "Nodes",
    "node": "A node",
    "pipelines": "Pipelines",
    "runs": "Runs",
    "run": "A run",
    "events": "Events",
    "form": "Forms",
    "dialog": "Questions",
}

KEYS: tuple[Key, ...] = (
    Key("app.help", "question_mark,f1", "app.help", "show the keys that work here", "help"),
    Key("app.command", "colon", "app.command", "type a command", "command"),
    Key("app.palette", "ctrl+p,P", "app.command_palette", "search for a command"),
    Key("app.fleet", "1", "app.view('fleet')", "the fleet at a glance"),
    Key("app.nodes", "2", "app.view('nodes')", "nodes"),
    Key("app.pipelines", "3", "app.view('pipelines')", "pipelines"),
    Key("app.runs", "4", "app.view('runs')", "runs"),
    Key("app.logs", "6", "app.view('logs')", "the log that was looked at last"),
    Key("app.events", "7", "app.view('events')", "events"),
    Key("app.back", "escape,q", "app.back", "go back, or clear what was searched for", "back"),
    Key("app.quit", "Q,ctrl+q", "app.ask_quit", "leave the console", "quit"),
    Key("app.next_pane", "tab", "app.focus_next", "next pane"),
    Key("app.previous_pane", "shift+tab", "app.focus_previous", "previous pane"),
    Key("app.maximise", "f", "app.maximise", "give the pane the whole screen, or back"),
    Key("app.freeze", "p", "app.freeze", "freeze what is shown, or go on"),
    Key("app.export", "ctrl+s,f12", "app.export", "write what is shown to a file"),
    Key("app.copy", "c", "app.copy", "copy the selected line"),
    Key("app.redraw", "ctrl+l,f5", "app.redraw", "draw the screen anew"),
    Key("app.mouse", "f2", "app.mouse", "mouse on or off"),
    Key("app.trigger", "t", "app.trigger", "start a pipeline", "trigger"),
    Key("table.up", "up,k", "cursor_up", "up"),
    Key("table.down", "down,j", "cursor_down", "down"),
    Key("table.page_up", "pageup,ctrl+u", "page_up", "a page up"),
    Key("table.page_down", "pagedown,ctrl+d", "page_down", "a page down"),
    Key("table.top", "home,g", "scroll_top", "to the first"),
    Key("table.bottom", "end,G", "scroll_bottom", "to the last"),
    Key("table.open", "enter", "open", "open", "open"),
    Key("table.filter", "slash", "filter", "show only what matches", "filter"),
    Key("table.mark", "space", "mark", "mark, and go down", "mark"),
    Key("table.mark_range", "v", "mark_range", "begin and end a range of marks"),
    Key("table.mark_all", "asterisk", "mark_all", "mark all that is shown"),
    Key("table.invert", "i", "invert_marks", "mark the others instead"),
    Key("table.unmark", "U", "unmark_all", "unmark all"),
    Key("table.sort", "O", "sort_next", "sort by the next column"),
    Key("table.reverse", "o", "reverse", "reverse the order"),
    Key("table.refresh_order", "equals_sign", "sort_now", "bring the order up to date now"),
    Key("table.wide", "w", "wide", "more columns, or fewer"),
    Key("table.left", "left,h", "columns_left", "columns before, in wide mode"),
    Key("table.right", "right", "columns_right", "columns behind, in wide mode"),
    Key("table.faults", "z", "faults", "only what is not well, or all"),
    Key("log.up", "up,k", "cursor_up", "a line up"),
    Key("log.down", "down,j", "cursor_down", "a line down"),
    Key("log.page_up", "pageup,ctrl+u", "page_up", "a page up"),
    Key("log.page_down", "pagedown,ctrl+d", "page_down", "a page down"),
    Key("log.top", "home,g", "scroll_top", "to the first line that is here"),
    Key("log.end", "end,G", "scroll_end", "to the end, and follow"),
    Key("log.left", "left,h", "pan_left", "to the left"),
    Key("log.right", "right", "pan_right", "to the right"),
    Key("log.follow", "s,space", "follow", "follow what comes, or hold", "follow"),
    Key("log.search", "slash", "search", "search, and keep what is around", "search"),
    Key("log.next", "n", "next_hit", "next hit"),
    Key("log.previous", "N", "previous_hit", "previous hit"),
    Key("log.filter", "ampersand", "filter", "show only lines that match", "filter"),
    Key("log.next_error", "e", "next_error", "next line that looks like an error"),
    Key("log.previous_error", "E", "previous_error", "previous one"),
    Key("log.times", "T", "times", "timestamps on or off"),
    Key("log.wrap", "w", "wrap", "wrap long lines, or cut them", "wrap"),
    Key("log.open", "enter", "open_line", "all of a line, with JSON by its parts, or close it", "open"),
    Key("nodes.cordon", "C", "cordon", "cordon, or uncordon: no new tasks"),
    Key("nodes.drain", "D", "drain", "empty it; what is left after a while is cancelled"),
    Key("nodes.label", "L", "label", "set and remove labels", "label"),
    Key("nodes.enrol", "plus", "enrol", "enrol a node: the line that joins it", "enrol"),
    Key("nodes.describe", "d", "describe", "everything that is known of it"),
    Key("nodes.logs", "l", "logs", "the log of what it last worked on, or of a container", "logs"),
    Key("nodes.events", "e", "events", "its events"),
    Key("fleet.cordon", "C", "cordon", "cordon nodes, or uncordon: no new tasks"),
    Key("fleet.enrol", "plus", "enrol", "enrol a node: the line that joins it"),
    Key("pipelines.show", "d", "show", "its file as it is stored", "text"),
    Key("pipelines.runs", "r", "runs", "its runs", "runs"),
    Key("runs.cancel", "X", "cancel", "cancel", "cancel"),
    Key("runs.retry", "R", "retry", "run again where it failed", "retry"),
    Key("runs.logs", "l", "logs", "its log", "logs"),
    Key("runs.why", "W", "why", "why it does not move"),
    Key("runs.events", "e", "events", "its events"),
    Key("runs.resolve", "D", "resolve", "decide about a task that waits for a person"),
)


def bindings(*groups: str) -> list[BindingType]:
    """The bindings of some groups, for a widget's or screen's BINDINGS."""
    return [
        Binding(key.keys, key.action, key.footer or key.text, show=bool(key.footer), id=key.id)
        for key in KEYS
        if key.group in groups
    ]


def of_groups(groups: Iterable[str], keymap: Mapping[str, str] | None = None) -> list[tuple[str, list[Key]]]:
    """Titles with their keys, in the order of `groups`, as remapped."""
    changed = keymap or {}
    found = []
    for group in groups:
        keys = [
            Key(key.id, changed.get(key.id, key.keys), key.action, key.text, key.footer)
            for key in KEYS
            if key.group == group
        ]
        if keys:
            found.append((GROUPS[group], keys))
    return found


def checked_keymap(given: Mapping[str, str]) -> dict[str, str]:
    """Other keys by id, as the config file gives them. Raises GameNodeError that names an id that there is not."""
    ids = {key.id for key in KEYS}
    for id, keys in given.items():
        if id not in ids:
            near = nearest(id, ids)
            hint = f"; did you mean {near!r}?" if near else ""
            raise GameNodeError(Code.INVALID_ARGUMENT, f"keys: there is no key {id!r}{hint}")
        if not all(word.strip() for word in keys.split(",")):
            raise GameNodeError(Code.INVALID_ARGUMENT, f"keys: {id}: give one or more keys, like 'j,down'")
    _check_clashes(given)
    return dict(given)


def _check_clashes(given: Mapping[str, str]) -> None:
    """Raises where one key would do two things in one place, because of what was given."""
    taken: dict[tuple[str, str], str] = {}
    for key in KEYS:
        for word in given.get(key.id, key.keys).split(","):
            other = taken.setdefault((key.group, word.strip()), key.id)
            if other != key.id and (key.id in given or other in given):
                raise GameNodeError(
                    Code.INVALID_ARGUMENT,
                    f"keys: {word.strip()!r} would be both {other} and {key.id}: give one another key",
                )


def named(keys: str) -> str:
    """Keys as people write them: `down,j` → `↓ j`."""
    return " ".join(_NAMES.get(key, key.replace("ctrl+", "^")) for key in keys.split(","))


_NAMES = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "ampersand": "&",
    "asterisk": "*",
    "equals_sign": "=",
    "plus": "+",
    "escape": "esc",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "shift+tab": "⇧tab",
}

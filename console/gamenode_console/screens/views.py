"""The views that digits open, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gamenode_console.screens.events import Events
from gamenode_console.screens.fleet import Fleet
from gamenode_console.screens.logs import Logs
from gamenode_console.screens.nodes import Nodes
from gamenode_console.screens.pipelines import Pipelines
from gamenode_console.screens.runs import Runs
from gamenode_console.screens.view import View

VIEWS: Mapping[str, Callable[[], View]] = {
    "fleet": Fleet,
    "nodes": Nodes,
    "pipelines": Pipelines,
    "runs": Runs,
    "logs": Logs,
    "events": Events,
}

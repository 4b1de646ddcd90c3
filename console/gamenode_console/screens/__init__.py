"""The console's screens, one a file; each shows the world and asks the core, and decides as little as it can."""

from __future__ import annotations

"""What steps are carried out by: processes through the supervisor, the agent itself, and the engines it works with."""

from __future__ import annotations

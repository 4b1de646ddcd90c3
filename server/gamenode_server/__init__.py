"""gamenode-server: creates, dispatches and tracks runs."""

from __future__ import annotations

"""The operator's side: the `gamenode` client and the terminal console."""

from __future__ import annotations

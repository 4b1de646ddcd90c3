"""The console's other thread: every connection lives on its loop, and the screens only ask it."""

from __future__ import annotations

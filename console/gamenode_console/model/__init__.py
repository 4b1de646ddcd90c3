"""What the console knows and decides: pure, without a screen, a connection or a clock of its own."""

from __future__ import annotations

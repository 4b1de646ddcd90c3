"""The shell around the task machine: takes assignments, commits, starts attempts, and reports how they ended."""

from __future__ import annotations

"""The terminal below the screens: what it can do, how it ends, and what must not reach it."""

from __future__ import annotations

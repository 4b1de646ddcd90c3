"""The pure core: what a pipeline is, and how runs, tasks and steps move.

Knows no clock, no network, no disk and no other GameNode package.
"""

from __future__ import annotations

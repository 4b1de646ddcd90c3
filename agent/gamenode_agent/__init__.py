"""gamenode-agent: executes tasks on one host and reports what happens there."""

from __future__ import annotations

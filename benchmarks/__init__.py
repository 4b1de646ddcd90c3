"""What `make bench` runs: GameNode beside a bare reference, measured in the same run, told as ratios."""

from __future__ import annotations

"""What an operator should look at first. Pure: judges records, changes nothing."""

from __future__ import annotations

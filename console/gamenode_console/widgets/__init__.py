"""What screens are made of: drawn line by line, at a cost that depends on what is seen and not on what there is."""

from __future__ import annotations

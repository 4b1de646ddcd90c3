"""Who did what: the record each mutating call leaves, and the proof that none was changed since."""

from __future__ import annotations

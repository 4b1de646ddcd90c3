"""What the server decides: store operations, one concern a file, each a plain `op(tx)` made by a small factory.

Owns every change of runs, tasks and nodes. Knows neither gRPC nor SQL: it reads and writes through `store.tx.Tx`,
decides with the pure core, and hands what has to happen in the world to `tx.effect` (`effects.py`).
"""

from __future__ import annotations

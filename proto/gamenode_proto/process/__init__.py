"""What every GameNode process does the same way: time, settings, logging, locks, failpoints, batched writes.

Knows nothing of gRPC or of any message.
"""

from __future__ import annotations

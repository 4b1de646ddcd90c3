"""What steps are executed by: processes, through the supervisor."""

from __future__ import annotations

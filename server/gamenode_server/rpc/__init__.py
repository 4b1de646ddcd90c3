"""The server's doors: three listeners with disjoint services, one interceptor, and servicers that only translate."""

from __future__ import annotations

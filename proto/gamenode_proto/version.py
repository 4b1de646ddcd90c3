"""The protocol's number: raised with every change that an older peer could not live with."""

from __future__ import annotations

PROTOCOL = 1
#: Oldest peer this version works with.
PROTOCOL_MIN = 1

"""Domain values to `gamenode.v1` messages and back, field by field. No meaning is added or lost here.

`x_to_proto` makes a new message, `x_from_proto` a new value; a message that no value fits raises GameNodeError
PROTOCOL_ERROR. Fields at their default are left out, so that equal values have equal bytes.
"""

from __future__ import annotations

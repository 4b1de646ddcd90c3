"""Signatures of webhooks, as Standard Webhooks has them, so that receivers can check them with libraries they have.

`webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = "whsec_"


def key_of(secret: str) -> bytes:
    """The key in a secret: base64 behind `whsec_`, any other text as it is. Raises ValueError."""
    if not secret:
        raise ValueError("is empty")
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"begins with {_PREFIX} and is not base64 behind it") from None


def signed(key: bytes | None, *, id: str, wall: float, body: bytes) -> dict[str, str]:
    """The headers that say which message this is, when it was sent and, with a key, by whom."""
    timestamp = str(int(wall))
    headers = {"webhook-id": id, "webhook-timestamp": timestamp}
    if key is not None:
        mac = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(mac).decode()}"
    return headers

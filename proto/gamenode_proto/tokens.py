"""The join token: everything a fresh host needs to reach the right cluster, in one line that can be pasted.

`gn1.` and then base64url of a small JSON object. The secret is inside, so a token is shown once and never logged; the
server keeps only its hash.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.addresses import split_address

PREFIX = "gn1."
SECRET_BYTES = 32
PIN_BYTES = 32
_VERSIONED = re.compile(r"gn\d+\.")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a join token says."""

    #: `HOST:PORT` of the enrolment listener, best first.
    addresses: tuple[str, ...]
    token_id: str
    secret: bytes = field(repr=False)
    #: SHA-256 of the SubjectPublicKeyInfo of the cluster's CA.
    ca_pin: bytes
    expires_at: float

    def encode(self) -> str:
        """The token as text."""
        body = {
            "addrs": list(self.addresses),
            "tid": self.token_id,
            "sec": _b64(self.secret),
            "spki": self.ca_pin.hex(),
            "exp": self.expires_at,
        }
        return PREFIX + _b64(json.dumps(body, separators=(",", ":")).encode())

    @classmethod
    def decode(cls, text: str) -> JoinToken:
        """Reads a token; the whole join command and white space around it are fine too.

        Raises GameNodeError(INVALID_ARGUMENT) that says which way it is no token. Says nothing of expiry: `check`.
        """
        words = text.split()
        if not words:
            raise _bad("the join token is empty")
        word = next((w for w in words if _VERSIONED.match(w)), words[-1])
        if not _VERSIONED.match(word):
            raise _bad(
                f"this is not a join token: a token starts with {PREFIX!r} and is printed by `gamenode node token`"
            )
        if not word.startswith(PREFIX):
            version = word.partition(".")[0]
            raise _bad(
                f"the join token is of another version of GameNode ({version}, this agent reads {PREFIX[:-1]}): "
                "install the agent in the server's version"
            )
        try:
            body = json.loads(_unb64(word[len(PREFIX) :]))
        except (ValueError, binascii.Error, UnicodeDecodeError) as error:
            raise _bad(
                "the join token is cut short or was changed: copy it again, whole, from `gamenode node token`"
            ) from error
        return cls._read(body)

    @classmethod
    def _read(cls, body: object) -> JoinToken:
        try:
            if not isinstance(body, dict):
                raise TypeError("not an object")
            addresses = tuple(body["addrs"])
            for address in addresses:
                split_address(address)
            token = cls(
                addresses=addresses,
                token_id=str(body["tid"]),
                secret=_unb64(body["sec"]),
                ca_pin=bytes.fromhex(body["spki"]),
                expires_at=float(body["exp"]),
            )
            if not addresses or len(token.secret) != SECRET_BYTES or len(token.ca_pin) != PIN_BYTES:
                raise ValueError("a part is missing or has the wrong length")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _bad(f"the join token is damaged ({error}): make a new one with `gamenode node token`") from error
        return token

    def check(self, now: float) -> None:
        """Raises GameNodeError(UNAUTHENTICATED) for a token that has expired."""
        if now >= self.expires_at:
            raise GameNodeError(
                Code.UNAUTHENTICATED,
                f"the join token expired {_ago(now - self.expires_at)} ago: make a new one with `gamenode node token`",
            )


def _ago(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def _bad(message: str) -> GameNodeError:
    return GameNodeError(Code.INVALID_ARGUMENT, message)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

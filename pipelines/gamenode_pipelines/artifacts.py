"""What an artifact may be called, and how one is meant: by its name, or by its content."""

from __future__ import annotations

import re
from typing import Final

#: A SHA-256 in hex.
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PREFIX: Final = "sha256:"


def check_name(name: str) -> str:
    """The name, if an artifact may have it; raises ValueError with what is wrong."""
    if not _NAME.fullmatch(name):
        raise ValueError("must be 1 to 128 letters, digits, `.`, `_` or `-`, and begin with a letter or digit")
    if DIGEST.fullmatch(name.lower()):
        raise ValueError("looks like a digest; a name must not")
    return name


def check_reference(text: str) -> str:
    """An artifact's name, or a whole digest with or without `sha256:`; raises ValueError."""
    digest = text.removeprefix(_PREFIX).lower()
    if DIGEST.fullmatch(digest):
        return digest
    if text.startswith(_PREFIX):
        raise ValueError("is no SHA-256: 64 hexadecimal digits")
    return check_name(text)

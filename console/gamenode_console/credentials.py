"""The credentials file: what an operator shows over the network, and how it knows the cluster. One JSON document.

The key is made here and stays here: the server gets a request that is signed with it, and answers with a certificate.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gamenode_console import texts, words
from gamenode_pipelines.errors import Code, GameNodeError

_KIND = "operator"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's certificate and key, and the CA of its cluster; PEM."""

    user: str
    role: str
    cluster_id: str
    #: Unix seconds of the wall clock.
    expires_at: float
    ca: str
    certificate: str
    key: str = field(repr=False)

    def text(self) -> str:
        """The file's content."""
        document = {
            "gamenode_credentials": _KIND,
            "user": self.user,
            "role": self.role,
            "cluster_id": self.cluster_id,
            "expires_at": words.time(self.expires_at),
            "ca": self.ca,
            "certificate": self.certificate,
            "key": self.key,
        }
        return json.dumps(document, indent=2) + "\n"


def read(file: Path, *, now: float) -> Credentials:
    """The credentials in `file`, if they can be used at `now` (wall clock).

    Raises GameNodeError that says what to do: INVALID_ARGUMENT for a file that is missing, damaged or open to others,
    UNAUTHENTICATED for one that has expired.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            text = opened.read()
    except OSError as error:
        raise _bad(f"the credentials file {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(file) from error
    if mode & 0o077:
        raise _bad(f"others can read the credentials file {file} (mode {mode:04o}): `chmod 600 {file}`")
    found = _parsed(text, file)
    if now >= found.expires_at:
        raise GameNodeError(
            Code.UNAUTHENTICATED,
            f"the credentials in {file} expired {texts.span(now - found.expires_at)} ago: "
            f"an admin makes new ones with `gamenode user create {found.user} --role {found.role} --out FILE`",
        )
    return found


def _parsed(text: str, file: Path) -> Credentials:
    try:
        document: Any = json.loads(text)
        if document["gamenode_credentials"] != _KIND:
            raise ValueError("another kind of credentials")
        pem = {name: str(document[name]) for name in ("ca", "certificate", "key")}
        if not all(block.startswith("-----BEGIN ") for block in pem.values()):
            raise ValueError("not PEM")
        return Credentials(
            user=str(document["user"]),
            role=str(document["role"]),
            cluster_id=str(document["cluster_id"]),
            expires_at=texts.parse_time(document["expires_at"]),
            **pem,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(file) from error


def new_key(user: str) -> tuple[str, str]:
    """A fresh P-256 key and a request for a certificate that is signed with it; PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user[:64] or "user")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), request.public_bytes(pem).decode()


def reserve(file: Path) -> int:
    """Makes an empty file that only this user can read, and opens it; nothing that exists is replaced."""
    try:
        return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise GameNodeError(Code.ALREADY_EXISTS, f"{file} exists already; name another file with --out") from None
    except OSError as error:
        raise _bad(f"cannot write {file}: {error.strerror}") from error


def _damaged(file: Path) -> GameNodeError:
    return _bad(f"{file} holds no credentials of a user: `gamenode user create NAME --role ROLE --out FILE` makes some")


def _bad(message: str) -> GameNodeError:
    return GameNodeError(Code.INVALID_ARGUMENT, message)

"""Who this node is: its key, its certificate, and the cluster it belongs to, in one file that only its owner reads.

The file is text: a line of JSON with the facts, then the key, the node's certificate and the cluster's CA as PEM, so
that `openssl x509 -in identity.pem` works on it. Written whole or not at all.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError

FILE_NAME = "identity.pem"
#: An Ed25519 public key.
TICKET_KEY_BYTES = 32
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Identity:
    """A joined node. PEM as text; `addresses` are the agent listener's, `join_addresses` the enrolment listener's."""

    node_id: str
    name: str
    cluster_id: str
    addresses: tuple[str, ...]
    join_addresses: tuple[str, ...]
    #: Raw Ed25519 key that tickets are signed with.
    ticket_key: bytes
    key_pem: str = field(repr=False)
    certificate_pem: str
    ca_pem: str

    #: When the certificate begins and ends, Unix seconds of the wall clock.
    lifetime: tuple[float, float]

    def renewed(self, *, key_pem: str, certificate_pem: str, ca_pem: str) -> Identity:
        """The same node with a new key and certificate; an empty `ca_pem` keeps the CA."""
        from gamenode_agent.keys import lifetime

        return replace(
            self,
            key_pem=key_pem,
            certificate_pem=certificate_pem,
            ca_pem=ca_pem or self.ca_pem,
            lifetime=lifetime(certificate_pem),
        )


def load_identity(agent_dir: Path) -> Identity:
    """The identity in the agent's folder.

    Raises GameNodeError: NOT_FOUND where the host has not joined, INTEGRITY_FAILED for a file that is damaged.
    """
    path = agent_dir / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise GameNodeError(
            Code.NOT_FOUND,
            f"this host has not joined a cluster ({path} does not exist): run `gamenode-agent join TOKEN` with a token"
            " from `gamenode node token`",
        ) from None
    except PermissionError:
        raise GameNodeError(Code.PERMISSION_DENIED, f"{path} cannot be read: run as the user that joined") from None
    except UnicodeDecodeError as error:
        raise _damaged(path, "it is not text") from error
    try:
        facts = json.loads(text.split("\n", 1)[0])
        blocks = [(match[1], match[0]) for match in _PEM.finditer(text)]
        key = next(block for kind, block in blocks if kind.endswith("PRIVATE KEY"))
        certificates = [block for kind, block in blocks if kind == "CERTIFICATE"]
        identity = Identity(
            node_id=str(facts["node_id"]),
            name=str(facts["name"]),
            cluster_id=str(facts["cluster_id"]),
            addresses=tuple(map(str, facts["addresses"])),
            join_addresses=tuple(map(str, facts["join_addresses"])),
            ticket_key=base64.b64decode(facts["ticket_key"]),
            key_pem=key,
            certificate_pem=certificates[0],
            ca_pem="".join(certificates[1:]),
            lifetime=(float(facts["begins"]), float(facts["ends"])),
        )
        if not identity.ca_pem or not identity.addresses:
            raise ValueError("a part is missing")
        _check_keys(path, identity)
    except ssl.SSLError as error:
        why = "its key is not that of its certificate" if error.reason == "KEY_VALUES_MISMATCH" else str(error.reason)
        raise _damaged(path, why) from error
    except (ValueError, KeyError, TypeError, StopIteration, IndexError) as error:
        raise _damaged(path, str(error) or "a part is missing") from error
    return identity


def _check_keys(path: Path, identity: Identity) -> None:
    """Raises ssl.SSLError or ValueError: gRPC would only try to connect for ever. By `ssl`, which asyncio needs too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(path)
    context.load_verify_locations(cadata=identity.ca_pem)
    if len(identity.ticket_key) != TICKET_KEY_BYTES:
        raise ValueError("a part is missing")


def save_identity(agent_dir: Path, identity: Identity) -> None:
    """Writes the identity, durably and whole."""
    facts = {
        "node_id": identity.node_id,
        "name": identity.name,
        "cluster_id": identity.cluster_id,
        "addresses": identity.addresses,
        "join_addresses": identity.join_addresses,
        "ticket_key": base64.b64encode(identity.ticket_key).decode(),
        "begins": identity.lifetime[0],
        "ends": identity.lifetime[1],
    }
    pem = "".join(text if text.endswith("\n") else text + "\n" for text in _pems(identity))
    write_secret(agent_dir / FILE_NAME, f"{json.dumps(facts)}\n{pem}")


def _pems(identity: Identity) -> tuple[str, str, str]:
    return identity.key_pem, identity.certificate_pem, identity.ca_pem


def write_secret(path: Path, text: str) -> None:
    """Replaces a file by tmp, fsync and rename; only its owner may read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _damaged(path: Path, why: str) -> GameNodeError:
    return GameNodeError(
        Code.INTEGRITY_FAILED,
        f"{path} is damaged ({why}): restore it, or `gamenode-agent leave` and join again with a new token",
    )

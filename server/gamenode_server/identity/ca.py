"""The cluster's keys on disk: the root, the two issuers under it, the server's own leaf, and the signing keys.

    identity/root.pem         P-256, ten years; its public key is what join tokens pin
    identity/nodes.pem        issuer of node certificates: all that the agent port trusts
    identity/operators.pem    issuer of operator certificates: all that the control port trusts
    identity/server.pem       the server's leaf, made anew before it ends
    identity/tickets.pem      Ed25519, signs tickets
    identity/audit.key        HMAC key of the audit chain

The folder is made as a whole or not at all, and never made anew where a cluster already is.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.ids import ENTROPY_BYTES, make_id
from gamenode_server.identity import certificates
from gamenode_server.identity.certificates import LEAF_LIFE, Issuer, Kind, PublicKey
from gamenode_server.identity.files import read_private, sync_folder, write_private

logger = logging.getLogger(__name__)

AUDIT_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ServerLeaf:
    """What the server shows on its TLS ports: key, and the chain up to the root, so that a pin can be checked."""

    key_pem: bytes
    chain_pem: bytes
    not_after: float


class Cluster:
    """The loaded keys of a cluster. `wall` is the wall clock, which certificates are defined by."""

    def __init__(
        self,
        folder: Path,
        *,
        root: Issuer,
        nodes: Issuer,
        operators: Issuer,
        ticket_key: Ed25519PrivateKey,
        audit_key: bytes,
        wall: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._wall = wall
        self.root = root
        self.nodes = nodes
        self.operators = operators
        self.ticket_key = ticket_key
        self.audit_key = audit_key
        self.cluster_id = _cluster_id(root.certificate, folder)
        self.ca_pem = root.pem
        self.ca_pin = certificates.spki_sha256(root.certificate)
        self.leaf = self._load_leaf() or self._make_leaf()

    @property
    def ticket_public_key(self) -> bytes:
        """Raw Ed25519 key that tickets are verified with."""
        return self.ticket_key.public_key().public_bytes_raw()

    def renew_leaf(self) -> bool:
        """Makes a new server certificate if a third or less of the present one is left. Says whether it did."""
        if self.leaf.not_after - self._wall() > LEAF_LIFE / 3:
            return False
        self.leaf = self._make_leaf()
        return True

    def _make_leaf(self) -> ServerLeaf:
        key = certificates.new_key()
        leaf = certificates.make_server_leaf(
            self.root, key.public_key(), cluster_id=self.cluster_id, serial=new_serial(), now=self._wall()
        )
        key_pem = _private_pem(key)
        chain = leaf.public_bytes(serialization.Encoding.PEM) + self.root.pem
        write_private(self._folder / "server.pem", key_pem + chain)
        return ServerLeaf(key_pem, chain, leaf.not_valid_after_utc.timestamp())

    def issue(
        self,
        key: PublicKey,
        *,
        kind: Kind = "node",
        name: str,
        serial: int,
        not_after: float,
        life: float = LEAF_LIFE,
    ) -> str:
        """A client certificate for a node id or a user's name, PEM. It begins `life` before it ends."""
        issuer = self.nodes if kind == "node" else self.operators
        leaf = certificates.make_client_leaf(
            issuer, key, cluster_id=self.cluster_id, kind=kind, name=name, serial=serial, not_after=not_after, life=life
        )
        return leaf.public_bytes(serialization.Encoding.PEM).decode()

    def _load_leaf(self) -> ServerLeaf | None:
        path = self._folder / "server.pem"
        if not path.exists():
            return None
        data = read_private(path)
        try:
            chain = x509.load_pem_x509_certificates(data)
            key = serialization.load_pem_private_key(data, password=None)
            chain[0].verify_directly_issued_by(self.root.certificate)
            if key.public_key() != chain[0].public_key():
                raise ValueError("the key is another certificate's")
        except (ValueError, TypeError, IndexError, InvalidSignature) as error:
            # Of all these files only this one can be made anew without harm.
            logger.warning("%s cannot be used (%s), making a new one", path, error)
            return None
        end = data.index(b"-----BEGIN CERTIFICATE")
        return ServerLeaf(data[:end], data[end:], chain[0].not_valid_after_utc.timestamp())


def open_cluster(folder: Path, *, wall: Callable[[], float], may_create: bool) -> Cluster:
    """Loads the cluster's keys from `folder`, making them where `may_create` and there are none.

    Raises GameNodeError(INTEGRITY_FAILED) for a folder that is damaged, or missing while there is a cluster: a new CA
    would lock every node out.
    """
    if not folder.exists():
        if not may_create:
            raise GameNodeError(
                Code.INTEGRITY_FAILED,
                f"{folder} is gone, but this data dir belongs to a cluster: restore the folder from a backup",
            )
        _create(folder, wall())
    cluster = Cluster(
        folder,
        root=_load_issuer(folder / "root.pem"),
        nodes=_load_issuer(folder / "nodes.pem"),
        operators=_load_issuer(folder / "operators.pem"),
        ticket_key=_load_ticket_key(folder / "tickets.pem"),
        audit_key=_load_audit_key(folder / "audit.key"),
        wall=wall,
    )
    for name, issuer in (("nodes.pem", cluster.nodes), ("operators.pem", cluster.operators)):
        try:
            issuer.certificate.verify_directly_issued_by(cluster.root.certificate)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise _damaged(folder / name, "it is of another cluster than root.pem") from error
    cluster.renew_leaf()
    return cluster


def new_serial() -> int:
    """A random serial number; its top bit is set, so that all have the same length in hex."""
    return int.from_bytes(os.urandom(certificates.SERIAL_BYTES)) >> 1 | 1 << (certificates.SERIAL_BYTES * 8 - 2)


def _create(folder: Path, now: float) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    building = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(building, ignore_errors=True)  # what a crash in here left
    building.mkdir(mode=0o700)
    cluster_id = make_id(os.urandom(ENTROPY_BYTES))
    root = certificates.make_root(certificates.new_key(), cluster_id=cluster_id, serial=new_serial(), now=now)
    issuers = {
        "root": root,
        "nodes": certificates.make_issuer(root, certificates.new_key(), what="nodes", serial=new_serial(), now=now),
        "operators": certificates.make_issuer(
            root, certificates.new_key(), what="operators", serial=new_serial(), now=now
        ),
    }
    for name, issuer in issuers.items():
        write_private(building / f"{name}.pem", _private_pem(issuer.key) + issuer.pem)
    ticket_key = Ed25519PrivateKey.generate()
    write_private(building / "tickets.pem", _private_pem(ticket_key))
    write_private(building / "audit.key", os.urandom(AUDIT_KEY_BYTES).hex().encode() + b"\n")
    os.rename(building, folder)
    sync_folder(folder.parent)


def _load_issuer(path: Path) -> Issuer:
    data = read_private(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
        certificate = x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise _damaged(path, "its key is not its certificate's")
    return Issuer(certificate, key)


def _load_ticket_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(read_private(path), password=None)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _damaged(path, "it is not an Ed25519 key")
    return key


def _load_audit_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(read_private(path).decode().strip())
    except ValueError as error:
        raise _damaged(path, "it is not hex") from error
    if len(key) != AUDIT_KEY_BYTES:
        raise _damaged(path, f"it holds {len(key)} bytes, not {AUDIT_KEY_BYTES}")
    return key


def _private_pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _cluster_id(root: x509.Certificate, folder: Path) -> str:
    try:
        names = root.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)[0].removeprefix("spiffe://")
    except (x509.ExtensionNotFound, IndexError) as error:
        raise _damaged(folder / "root.pem", "it names no cluster") from error


def _damaged(path: Path, why: str) -> GameNodeError:
    return GameNodeError(
        Code.INTEGRITY_FAILED, f"the cluster's key file {path} is damaged ({why}): restore it from a backup"
    )

"""The cluster's certificates: how each kind is made, what of a request is believed, and what is read from a peer's.

Pure: keys, times and serial numbers are arguments. Of a certificate request only the public key counts; subject and
extensions are set here.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.transport import SERVER_NAME

DAY = 86400.0
CA_LIFE = 3650 * DAY
LEAF_LIFE = 30 * DAY
#: Certificates begin this much earlier, so that a peer whose clock is behind accepts them.
CLOCK_SKEW = 600.0
SERIAL_BYTES = 16
MAX_CSR = 16 * 1024

Kind = Literal["node", "user"]
PublicKey = ec.EllipticCurvePublicKey | Ed25519PublicKey


class Signs(Protocol):
    """Makes node certificates. Pure: the same arguments give an equivalent certificate."""

    def __call__(self, key: PublicKey, *, name: str, serial: int, not_after: float) -> str:
        """The certificate of the node with this id, PEM."""
        ...


@dataclass(frozen=True, slots=True)
class Issuer:
    """A key that signs certificates, with its own certificate."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """Its certificate, PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def spki(key: PublicKey) -> bytes:
    """A public key as SubjectPublicKeyInfo, DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(certificate: x509.Certificate) -> bytes:
    """What a certificate is pinned by."""
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(key).digest()


def serial_text(serial: int) -> str:
    """A serial number as it is stored and shown: hex."""
    return f"{serial:x}"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_root(key: ec.EllipticCurvePrivateKey, *, cluster_id: str, serial: int, now: float) -> Issuer:
    """The cluster's root: self-signed, ten years, may sign issuers that may sign leaves."""
    name = _name(f"GameNode cluster {cluster_id}")
    builder = (
        _begin(name, name, key.public_key(), serial=serial, now=now, life=CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_ca_usage(), critical=True)
        .add_extension(_names(f"spiffe://{cluster_id}"), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Issuer(builder.sign(key, hashes.SHA256()), key)


def make_issuer(root: Issuer, key: ec.EllipticCurvePrivateKey, *, what: str, serial: int, now: float) -> Issuer:
    """An issuer of client certificates of one kind, `nodes` or `operators`. What it signs can never be a server."""
    builder = (
        _begin(
            _name(f"GameNode {what}"), root.certificate.subject, key.public_key(), serial=serial, now=now, life=CA_LIFE
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_ca_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )
    return Issuer(builder.sign(root.key, hashes.SHA256()), key)


def make_server_leaf(
    root: Issuer, key: ec.EllipticCurvePublicKey, *, cluster_id: str, serial: int, now: float
) -> x509.Certificate:
    """The server's certificate: the name is the cluster's constant one, never an address."""
    builder = _leaf(root, key, "GameNode server", serial=serial, not_before=now - CLOCK_SKEW, not_after=now + LEAF_LIFE)
    names = _names(f"spiffe://{cluster_id}/server", dns=SERVER_NAME)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    signed = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
    return signed.sign(root.key, hashes.SHA256())


def make_client_leaf(
    issuer: Issuer,
    key: PublicKey,
    *,
    cluster_id: str,
    kind: Kind,
    name: str,
    serial: int,
    not_after: float,
    life: float = LEAF_LIFE,
) -> x509.Certificate:
    """A node's or a user's certificate: `spiffe://CLUSTER/node/ID` or `…/user/NAME`, for TLS clients only."""
    builder = _leaf(
        issuer,
        key,
        f"GameNode {kind} {name}",
        serial=serial,
        not_before=not_after - life - CLOCK_SKEW,
        not_after=not_after,
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    signed = builder.add_extension(_names(f"spiffe://{cluster_id}/{kind}/{name}"), critical=False)
    return signed.add_extension(usage, critical=False).sign(issuer.key, hashes.SHA256())


def read_csr(pem: str) -> PublicKey:
    """The public key of a certificate request that is signed with it.

    Raises GameNodeError(INVALID_ARGUMENT): not a request, a signature that does not fit, or a key that is neither
    P-256 nor Ed25519.
    """
    if len(pem) > MAX_CSR:
        raise _bad(f"the certificate request is {len(pem)} characters long, at most {MAX_CSR} are taken")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        fits = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise _bad("this is not a certificate request (PKCS#10, PEM)") from error
    if isinstance(key, ec.EllipticCurvePublicKey):
        supported = isinstance(key.curve, ec.SECP256R1)
    else:
        supported = isinstance(key, Ed25519PublicKey)
    if not supported:
        raise _bad("the certificate request has a key that is neither P-256 nor Ed25519")
    if not fits:
        raise _bad("the certificate request is not signed with its own key")
    assert isinstance(key, (ec.EllipticCurvePublicKey, Ed25519PublicKey))
    return key


def proves_key(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` over `message` was made with the key (SubjectPublicKeyInfo, DER)."""
    try:
        key = serialization.load_der_public_key(public_key)
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            return False
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What a verified client certificate says."""

    cluster_id: str
    kind: str
    name: str
    #: Hex.
    serial: str
    #: Unix seconds of the wall clock.
    not_after: float


@functools.lru_cache(maxsize=4096)
def read_peer(pem: bytes) -> PeerCertificate | None:
    """The identity in a client certificate that TLS has verified; None where it is none of ours. Cached."""
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        parts = uri.removeprefix("spiffe://").split("/")
        if uri.startswith("spiffe://") and len(parts) == 3:
            return PeerCertificate(
                cluster_id=parts[0],
                kind=parts[1],
                name=parts[2],
                serial=serial_text(certificate.serial_number),
                not_after=certificate.not_valid_after_utc.timestamp(),
            )
    return None


def _leaf(
    issuer: Issuer, key: PublicKey, name: str, *, serial: int, not_before: float, not_after: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_date(not_before))
        .not_valid_after(_date(not_after))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )


def _begin(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, *, serial: int, now: float, life: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_date(now - CLOCK_SKEW))
        .not_valid_after(_date(now + life))
    )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _names(uri: str, *, dns: str = "") -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    return x509.SubjectAlternativeName([*names, x509.DNSName(dns)] if dns else names)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(seconds))


def _bad(message: str) -> GameNodeError:
    return GameNodeError(Code.INVALID_ARGUMENT, message)

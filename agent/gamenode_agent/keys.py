"""Keys and certificates: making, asking for, proving and reading them. Imported late: at rest nobody needs it."""

from __future__ import annotations

from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gamenode_pipelines.errors import Code, GameNodeError


def new_key() -> str:
    """A fresh P-256 key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def signing_request(key_pem: str, *, name: str) -> str:
    """A CSR for the key. The server takes the public key from it and decides the rest itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "gamenode-agent")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(_private(key_pem), hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def sign_nonce(key_pem: str, nonce: bytes) -> bytes:
    """Proves the key: an ECDSA signature with SHA-256 over the nonce."""
    return _private(key_pem).sign(nonce, ec.ECDSA(hashes.SHA256()))


def _private(key_pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise GameNodeError(Code.INTEGRITY_FAILED, "the node's key is not an elliptic-curve key: join again")
    return key


def serial_number(certificate_pem: str) -> str:
    """A certificate's serial number, hex."""
    return f"{x509.load_pem_x509_certificate(certificate_pem.encode()).serial_number:x}"


def lifetime(certificate_pem: str) -> tuple[float, float]:
    """When a certificate begins and ends, Unix seconds of the wall clock. Raises ValueError for what is none."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def public_key_hash(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's SubjectPublicKeyInfo: what a token pins."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return sha256(certificate.public_key().public_bytes(serialization.Encoding.DER, form)).digest()

"""The credentials file: what is in it, and what is said of one that cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gamenode_console import checks, credentials
from gamenode_pipelines.errors import Code, GameNodeError

DAY = 86_400.0
SHOWN = credentials.Credentials(
    user="alice",
    role="operator",
    cluster_id="cluster",
    expires_at=100 * DAY,
    ca="-----BEGIN CERTIFICATE-----\nca",
    certificate="-----BEGIN CERTIFICATE-----\nalice",
    key="-----BEGIN PRIVATE KEY-----\nsecret",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "alice.json"
    with os.fdopen(credentials.reserve(path), "w") as opened:
        opened.write(SHOWN.text())
    return path


def test_what_was_written_is_read(file: Path) -> None:
    assert credentials.read(file, now=0) == SHOWN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in repr(SHOWN)


def test_nothing_that_exists_is_replaced(file: Path) -> None:
    with pytest.raises(GameNodeError, match="exists already") as caught:
        credentials.reserve(file)
    assert caught.value.code is Code.ALREADY_EXISTS
    with pytest.raises(GameNodeError, match="No such file"):
        credentials.reserve(file.with_name("sub") / "x")


def test_a_file_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o640)
    with pytest.raises(GameNodeError, match=r"mode 0640.*chmod 600") as caught:
        credentials.read(file, now=0)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_credentials_that_have_expired_say_how_to_get_new_ones(file: Path) -> None:
    with pytest.raises(GameNodeError, match=r"expired 2d00h ago.*user create alice --role operator") as caught:
        credentials.read(file, now=102 * DAY)
    assert caught.value.code is Code.UNAUTHENTICATED


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff", '{"gamenode_credentials": "node"}', "no json"])
def test_what_is_no_credentials_file_is_said_so(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(GameNodeError, match="holds no credentials"):
        credentials.read(file, now=0)


def test_half_a_document_is_none(file: Path) -> None:
    file.write_text(SHOWN.text().replace("-----BEGIN PRIVATE", "PRIVATE"))
    with pytest.raises(GameNodeError, match="holds no credentials"):
        credentials.read(file, now=0)
    with pytest.raises(GameNodeError, match="cannot be read: No such file"):
        credentials.read(file.with_name("other"), now=0)


def test_a_request_is_signed_with_the_key_it_is_for() -> None:
    key, request = credentials.new_key("alice")
    private = serialization.load_pem_private_key(key.encode(), password=None)
    csr = x509.load_pem_x509_csr(request.encode())
    assert csr.is_signature_valid
    assert csr.public_key() == private.public_key()


def test_doctor_warns_a_week_before_the_end() -> None:
    assert checks.credentials("f", SHOWN, 90 * DAY).result == "ok"
    soon = checks.credentials("f", SHOWN, 94 * DAY)
    assert (soon.result, "alice (operator), good for 6d00h" in soon.text) == ("warn", True)

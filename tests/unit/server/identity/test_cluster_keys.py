from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.identity.ca import Cluster, open_cluster

FILES = ("root.pem", "nodes.pem", "operators.pem", "server.pem", "tickets.pem", "audit.key")


def opened(folder: Path, *, may_create: bool = True, at: float = 0.0) -> Cluster:
    return open_cluster(folder, wall=lambda: at or time.time(), may_create=may_create)


def test_a_cluster_is_made_once_and_its_keys_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    made = opened(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}
    again = opened(folder, may_create=False)
    assert again.cluster_id == made.cluster_id
    assert again.ca_pin == made.ca_pin
    assert again.leaf == made.leaf
    assert again.audit_key == made.audit_key
    assert again.ticket_public_key == made.ticket_public_key
    assert opened(tmp_path / "other").cluster_id != made.cluster_id


def test_a_cluster_whose_keys_are_gone_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(GameNodeError, match="restore the folder from a backup") as caught:
        opened(tmp_path / "identity", may_create=False)
    assert caught.value.code is Code.INTEGRITY_FAILED


@pytest.mark.parametrize("name", [f for f in FILES if f != "server.pem"])
@pytest.mark.parametrize("harm", ["missing", "empty", "garbage", "another cluster's"])
def test_a_damaged_key_is_named_and_never_replaced(tmp_path: Path, name: str, harm: str) -> None:
    folder = tmp_path / "identity"
    opened(folder)
    path = folder / name
    match harm:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(os.urandom(300))
        case _:
            opened(tmp_path / "other")
            shutil.copy(tmp_path / "other" / name, path)
    before = path.read_bytes() if path.exists() else None
    if harm == "another cluster's" and name in ("tickets.pem", "audit.key"):
        opened(folder, may_create=False)  # nothing ties these to the root
        return
    with pytest.raises(GameNodeError) as caught:
        opened(folder)
    assert caught.value.code is Code.INTEGRITY_FAILED
    assert str(path) in caught.value.message or harm == "another cluster's"
    assert (path.read_bytes() if path.exists() else None) == before


def test_the_servers_own_leaf_is_made_anew_where_it_cannot_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    before = opened(folder).leaf
    (folder / "server.pem").write_bytes(b"rubbish")
    assert opened(folder).leaf != before
    opened(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "server.pem", folder / "server.pem")
    foreign = (folder / "server.pem").read_bytes()
    opened(folder)
    assert (folder / "server.pem").read_bytes() != foreign


def test_the_leaf_is_renewed_before_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    now = time.time()
    first = opened(folder, at=now).leaf
    assert opened(folder, at=now + 19 * 86400).leaf == first
    assert opened(folder, at=now + 21 * 86400).leaf.not_after > first.not_after


def test_a_crash_while_a_cluster_is_made_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "identity"

    def crash(source: object, target: object) -> None:
        if Path(str(target)) == folder:
            raise OSError(28, "No space left on device")
        os.replace(str(source), str(target))

    with monkeypatch.context() as patched:
        patched.setattr("gamenode_server.identity.ca.os.rename", crash)
        with pytest.raises(OSError, match="No space"):
            opened(folder)
    assert not folder.exists()
    assert opened(folder).cluster_id

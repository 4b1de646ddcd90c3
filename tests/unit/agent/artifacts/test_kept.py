"""What a node keeps, and what goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gamenode_agent.artifacts.kept import ABANDONED, LEFT_ALONE, Kept
from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, GameNodeError

KEY = Attempt("task", 1, "put", 1)


def test_what_is_kept_goes_when_nobody_knows_it_and_it_is_not_new(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "artifacts", reserve=0)
    assert kept.digests() == []
    for digest in ("a" * 64, "b" * 64):
        kept.begin(KEY, 1).write_text("x")
        kept.keep(KEY, digest)
    now = kept.path("a" * 64).stat().st_mtime
    kept.remove(["a" * 64, "c" * 64], wall_now=now + 1)
    assert kept.digests() == ["a" * 64, "b" * 64], "its name may be on the way"
    kept.remove(["a" * 64], wall_now=now + LEFT_ALONE + 1)
    assert kept.digests() == ["b" * 64]


def test_what_a_killed_attempt_left_goes_after_a_while(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "artifacts", reserve=0)
    made = kept.begin(KEY, 1)
    made.write_text("x")
    now = made.stat().st_mtime
    kept.tidy(wall_now=now + ABANDONED - 1)
    assert made.exists()
    kept.tidy(wall_now=now + ABANDONED + 1)
    assert not made.exists()
    kept.discard(KEY)


def test_a_disk_that_would_be_too_full_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    kept = Kept(tmp_path / "artifacts", reserve=1 << 20)
    with pytest.raises(GameNodeError) as caught:
        kept.begin(KEY, free)
    assert caught.value.code is Code.STORAGE_FULL
    assert not list((tmp_path / "artifacts").rglob("*.*"))

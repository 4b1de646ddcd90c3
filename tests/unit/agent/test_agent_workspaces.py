"""Kept workspaces: which may go, which must stay, and those that a step has closed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gamenode_agent.runner.workspace import Workspaces
from gamenode_proto.codec.plan import BundleFile


def test_kept_workspaces_go_by_age_and_size(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path / "work")
    for fence, age in ((1, 1000.0), (2, 50.0), (3, 20.0), (4, 5000.0)):
        work = spaces.prepare("t", fence, [BundleFile("f", b"x" * 100_000)], shared=False)
        assert spaces.finish("t", fence, succeeded=False)
        os.utime(work, (10_000.0 - age, 10_000.0 - age))
    kept = spaces.kept(frozenset({("t", 4)}))
    spaces.sweep(kept, wall_now=10_000.0, keep=500.0, max_bytes=150_000)
    assert sorted(path.name for path in (tmp_path / "work").glob("t.*")) == ["t.3", "t.4"]


def test_a_task_that_comes_during_a_sweep_keeps_its_workspace(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path / "work")
    kept = spaces.kept(frozenset())
    # Taken from the pool, a folder is as old as the pool.
    work = Path(spaces.prepare("t", 1, [], shared=False))
    os.utime(work, (0.0, 0.0))
    spaces.sweep(kept, wall_now=1e6, keep=1.0, max_bytes=0)
    assert work.is_dir()


_CLOSE_AND_SWEEP = """
import os, sys
from pathlib import Path
from gamenode_agent.runner.workspace import Workspaces

if os.geteuid() == 0:
    os.chown(sys.argv[1], 65534, -1)
    os.setresuid(65534, 65534, 65534)
spaces = Workspaces(Path(sys.argv[1]))
outside = Path(sys.argv[1], "outside")
outside.mkdir(0o500)
for fence in (1, 2):
    work = Path(spaces.prepare("t", fence, [], shared=False))
    for mode in (0o444, 0o500, 0o000):
        folder = work / f"{mode:o}" / "below"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 10_000)
        os.symlink(outside, folder / "link")
        folder.chmod(mode)
        folder.parent.chmod(mode)
    spaces.finish("t", fence, succeeded=False)
spaces.sweep(spaces.kept(frozenset()), wall_now=0.0, keep=1e12, max_bytes=1 << 30)
assert (work / "444").is_dir()
spaces.sweep(spaces.kept(frozenset()), wall_now=1e11, keep=1.0, max_bytes=1 << 30)
assert spaces.kept(frozenset()) == []
assert outside.stat().st_mode & 0o777 == 0o500
"""


def test_folders_that_a_step_has_closed_hinder_nothing() -> None:
    """As a user that is not root, whom a mode keeps out."""
    directory = tempfile.mkdtemp()
    try:
        run = subprocess.run([sys.executable, "-c", _CLOSE_AND_SWEEP, directory], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    finally:
        shutil.rmtree(directory, ignore_errors=True)

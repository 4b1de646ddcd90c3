"""CPU, memory and processes out of control groups, of both versions."""

from __future__ import annotations

from pathlib import Path

from gamenode_agent.engines.containers import Usage
from gamenode_agent.engines.docker.usage import ControlGroups

ID = "0123456789abcdef" * 4
STAT = "active_file 1\ninactive_file 1000\ntotal_inactive_file 4000\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def host(tmp_path: Path, mounts: str, groups: str) -> ControlGroups:
    write(tmp_path / "proc/self/mounts", mounts)
    write(tmp_path / "proc/42/cgroup", groups)
    return ControlGroups(tmp_path / "proc")


def test_version_one_has_a_hierarchy_for_each(tmp_path: Path) -> None:
    root = tmp_path / "cg"
    write(root / "memory/docker" / ID / "memory.usage_in_bytes", "10000\n")
    write(root / "memory/docker" / ID / "memory.stat", STAT)
    write(root / "cpu/docker" / ID / "cpuacct.usage", "2500000000\n")
    write(root / "pids/docker" / ID / "pids.current", "7\n")
    mounts = "".join(
        f"cgroup {root}/{name} cgroup rw,{options} 0 0\n"
        for name, options in (("cpu", "cpu,cpuacct"), ("memory", "memory"), ("pids", "pids"))
    )
    groups = f"4:memory:/docker/{ID}\n3:cpu,cpuacct:/docker/{ID}\n2:pids:/docker/{ID}\n0::/x\n"
    assert host(tmp_path, mounts, groups).usage({ID: 42}) == {ID: Usage(2.5, 6000, 7)}


def test_version_two_has_one(tmp_path: Path) -> None:
    folder = tmp_path / "cg/system.slice" / f"docker-{ID}.scope"
    write(folder / "memory.current", "10000\n")
    write(folder / "memory.stat", STAT)
    write(folder / "cpu.stat", "usage_usec 1500000\nuser_usec 1\n")
    write(folder / "pids.current", "3\n")
    reader = host(tmp_path, f"cgroup2 {tmp_path}/cg cgroup2 rw 0 0\n", f"0::/system.slice/docker-{ID}.scope\n")
    assert reader.usage({ID: 42}) == {ID: Usage(1.5, 9000, 3)}


def test_what_cannot_be_read_or_is_another_s_by_now_is_left_out(tmp_path: Path) -> None:
    reader = host(tmp_path, f"cgroup2 {tmp_path}/cg cgroup2 rw 0 0\n", "0::/user.slice/shell\n")
    assert reader.usage({ID: 42, "f" * 64: 43}) == {}

"""What `gamenode doctor` checks, as pure judgements over facts that someone else has gathered."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gamenode_console import texts
from gamenode_console.credentials import Credentials

_GIB = 1 << 30
_MIB = 1 << 20
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `ok`, `warn` or `fail`, what was found, and what to do about it."""

    check: str
    result: str
    text: str
    hint: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The same as a document."""
        return {"check": self.check, "result": self.result, "text": self.text, "hint": self.hint or None}


def python(version: tuple[int, int, int]) -> Check:
    """GameNode needs 3.11."""
    shown = ".".join(map(str, version))
    if version < (3, 11, 0):
        return Check("python", "fail", shown, "install Python 3.11 or newer")
    return Check("python", "ok", shown)


def sqlite(version: tuple[int, int, int]) -> Check:
    """The WAL-reset bug: two connections that write or checkpoint at once can corrupt (sqlite.org/wal.html)."""
    shown = ".".join(map(str, version))
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)
    if version < (3, 35, 0):
        return Check("sqlite", "fail", shown, "GameNode needs SQLite 3.35 or newer")
    if not fixed:
        return Check(
            "sqlite",
            "ok",
            f"{shown}: has the WAL-reset bug; the server writes through one connection only, which avoids it",
            "do not write to its database with other programs while it runs",
        )
    return Check("sqlite", "ok", shown)


def open_files(soft: int, hard: int) -> Check:
    """Every agent takes a few; programs raise the soft limit themselves, up to the hard one."""
    text = f"soft limit {soft}, hard limit {hard}"
    if 0 <= hard < 4096:
        return Check("open files", "warn", text, "raise the hard limit (LimitNOFILE=, /etc/security/limits.d) to 65536")
    return Check("open files", "ok", text)


def kill_user_processes(configurations: Sequence[str]) -> Check:
    """logind's KillUserProcesses=yes ends what a user leaves running; the last setting in the files' order counts."""
    setting = "no"
    for text in configurations:
        for line in text.splitlines():
            key, sign, value = line.partition("=")
            if sign and key.strip() == "KillUserProcesses":
                setting = value.strip().lower()
    if setting in ("yes", "true", "1", "on"):
        return Check(
            "logout",
            "warn",
            "KillUserProcesses=yes: what a user started ends with the last session",
            "`loginctl enable-linger`, or run server and agent as system services",
        )
    return Check("logout", "ok", "processes outlive the session")


def data_dir(path: str, mode: int | None, *, owner: int, uid: int, writable: bool) -> Check:
    """Only its owner should read and write it. `mode` is None where there is no such folder."""
    if mode is None:
        return Check("data dir", "warn", f"{path} does not exist", "`gamenode up` makes it")
    if not stat.S_ISDIR(mode):
        return Check("data dir", "fail", f"{path} is not a folder", "give another --data-dir")
    if mode & 0o022:
        return Check("data dir", "fail", f"{path} can be written by others ({mode & 0o777:o})", f"chmod go-w {path}")
    if not writable:
        text = f"{path} belongs to user {owner}" if owner != uid else f"{path} cannot be written"
        return Check("data dir", "warn", text, "run as the user that owns it, or give another --data-dir")
    if mode & 0o007:
        return Check("data dir", "warn", f"{path} can be read by everybody ({mode & 0o777:o})", f"chmod o-rwx {path}")
    return Check("data dir", "ok", path)


def disk(path: str, free: int, total: int) -> Check:
    """Room for logs, bundles and the database."""
    text = f"{texts.size(free)} of {texts.size(total)} free on {path}"
    if free < 100 * _MIB:
        return Check("disk", "fail", text, "free some space: the server stops taking work when it cannot store it")
    if free < _GIB:
        return Check("disk", "warn", text, "free some space soon")
    return Check("disk", "ok", text)


def locale(encoding: str) -> Check:
    """Symbols need UTF-8; without it letters stand in for them."""
    if encoding.lower().replace("-", "") != "utf8":
        return Check("locale", "warn", f"stdout is {encoding or 'of no encoding'}", "set LANG=C.UTF-8")
    return Check("locale", "ok", encoding)


def clock(now: float, nodes: Sequence[Any]) -> Check:
    """This machine's clock, and how far the nodes' are from the server's."""
    if now < 1_735_689_600:  # 2025
        return Check("clock", "fail", f"it is {texts.clock_time(now)} here", "set the clock: certificates depend on it")
    off = [node for node in nodes if node["state"] == "online" and abs(node["clock_skew"]) > 2]
    if off:
        worst = max(off, key=lambda node: abs(node["clock_skew"]))
        return Check(
            "clock",
            "warn",
            f"{len(off)} nodes are off by more than 2 s; {worst['name']} by {worst['clock_skew']:+.1f} s",
            "run chrony or systemd-timesyncd on them",
        )
    return Check("clock", "ok", texts.clock_time(now))


def certificates(now: float, nodes: Sequence[Any]) -> Check:
    """Nodes renew by themselves; one that does not has been away."""
    ends = [
        (texts.parse_time(node["certificate_not_after"]), node["name"])
        for node in nodes
        if node["certificate_not_after"] and node["state"] != "revoked"
    ]
    if not ends:
        return Check("certificates", "ok", "no nodes have one yet")
    end, name = min(ends)
    if end <= now:
        return Check(
            "certificates", "warn", f"{name}'s has ended", f"start the agent on {name}: it recovers by proving its key"
        )
    if end - now < 7 * _DAY:
        return Check(
            "certificates", "warn", f"{name}'s ends in {texts.span(end - now)}", f"see that the agent on {name} runs"
        )
    return Check("certificates", "ok", f"the first to end is {name}'s, in {texts.span(end - now)}")


def credentials(file: str, shown: Credentials, now: float) -> Check:
    """Whether the credentials that are used last a while."""
    left = shown.expires_at - now
    text = f"{file} is {shown.user} ({shown.role}), good for {texts.span(left)}"
    if left < 7 * _DAY:
        return Check("credentials", "warn", text, "ask an admin for new ones before they end")
    return Check("credentials", "ok", text)


def engines(nodes: Sequence[Any]) -> list[Check]:
    """Whether the container engines of the nodes that are there answer: one line each for those that do not."""
    asked = [node for node in nodes if node["state"] == "online" and node["engine"] is not None]
    away = [node for node in asked if not node["engine"]["available"]]
    text = f"{len(asked) - len(away)} of {len(asked)} answer" if asked else "no node that is online has one"
    return [
        Check("engines", "warn" if asked and len(away) == len(asked) else "ok", text),
        *(
            Check(
                f"engine of {node['name']}",
                "warn",
                node["engine"]["problem"] or f"{node['engine']['name']} does not answer",
                f"`gamenode-agent doctor` on {node['name']} says what it lacks",
            )
            for node in away
        ),
    ]


def server(status: Any, *, client_version: str) -> Check:
    """A server that was reached."""
    text = f"{status['server_version']}, cluster {status['cluster_id']}"
    if status["storage"] not in ("ok", ""):
        return Check("server", "fail", f"{text}: storage is {status['storage']}", "free some space in its data dir")
    if status["server_version"] != client_version:
        return Check("server", "warn", f"{text}; this client is {client_version}", "use the same version on both sides")
    if status["attention"]:
        return Check("server", "warn", f"{text}: {len(status['attention'])} things need attention", "gamenode status")
    return Check("server", "ok", text)

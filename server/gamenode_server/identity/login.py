"""The login socket: tells local clients apart by what the kernel knows of them.

A client connects, the server reads its uid (`SO_PEERCRED`) and answers with one line of JSON: a token bound to that
uid, good for ten minutes, that goes with every call on the control socket. Nothing the client could say matters.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import logging
import os
import pwd
import secrets
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import Clock
from gamenode_server.identity.principals import Principal, Role

logger = logging.getLogger(__name__)

LIFETIME = 600.0
_CREDENTIALS = struct.Struct("3i")
_WRITE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class UnixRoles:
    """Roles of local users, by name; a group's with `@` before it. Root and the server's own user are always admins."""

    by_name: Mapping[str, Role]

    @classmethod
    def parse(cls, items: tuple[str, ...]) -> UnixRoles:
        """From `USER=ROLE` and `@GROUP=ROLE`. Raises ValueError for what is neither."""
        found: dict[str, Role] = {}
        for item in items:
            name, equals, role = item.partition("=")
            if not equals or not name.strip("@") or role not in list(Role):
                raise ValueError(f"{item!r} is not USER=ROLE or @GROUP=ROLE with ROLE one of {', '.join(Role)}")
            found[name] = Role(role)
        return cls(found)

    def with_more(self, by_name: Mapping[str, Role]) -> UnixRoles:
        """These and others; the higher one where both name the same."""
        found = dict(self.by_name)
        for name, role in by_name.items():
            if name not in found or role.covers(found[name]):
                found[name] = role
        return UnixRoles(found)

    def of(self, uid: int) -> Role | None:
        """The highest role of a user; None for none."""
        if uid in (0, os.getuid()):
            return Role.ADMIN
        try:
            user = pwd.getpwuid(uid)
        except KeyError:
            return self.by_name.get(str(uid))
        names = [user.pw_name, str(uid)]
        for gid in os.getgrouplist(user.pw_name, user.pw_gid):
            with contextlib.suppress(KeyError):  # a group id without an entry has no name to be listed by
                names.append("@" + grp.getgrgid(gid).gr_name)
        roles = [self.by_name[name] for name in names if name in self.by_name]
        return max(roles, key=list(Role).index, default=None)


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Who may connect to a socket: its mode, and its group where it is not the server's own."""

    mode: int = 0o600
    gid: int = -1

    @classmethod
    def for_group(cls, name: str) -> SocketAccess:
        """The group's members, where there is such a group; else this user only."""
        try:
            return cls(0o660, grp.getgrnam(name).gr_gid)
        except KeyError:
            return cls()

    def apply(self, path: Path) -> None:
        """Opens a socket that nobody else could use until now."""
        if self.gid >= 0:
            os.chown(path, -1, self.gid)
        os.chmod(path, self.mode)


class LoginDesk:
    """Serves the login socket and knows the tokens it gave. For one loop."""

    def __init__(self, *, roles: UnixRoles, clock: Clock, lifetime: float = LIFETIME) -> None:
        self._roles = roles
        self._clock = clock
        self._lifetime = lifetime
        self._by_token: dict[str, tuple[Principal, float]] = {}
        self._by_uid: dict[int, str] = {}
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    async def start(self, path: Path, *, access: SocketAccess) -> None:
        """Listens on `path`; only under the lock of the data dir, because it takes over what is there."""
        before = os.umask(0o177)
        try:
            # asyncio removes a dead server's socket before it binds.
            self._server = await asyncio.start_unix_server(self._serve, str(path))
        finally:
            os.umask(before)
        access.apply(path)
        self._path = path

    async def stop(self) -> None:
        """Stops listening and removes the socket; tokens end with the server."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self._path = None

    def principal_of(self, token: str | None) -> Principal:
        """Who a token belongs to. Raises GameNodeError(UNAUTHENTICATED) where there is none, or it has ended."""
        if token is None:
            raise GameNodeError(
                Code.UNAUTHENTICATED, "this call shows no login token; ask the login socket beside the control socket"
            )
        found = self._by_token.get(token)
        if found is None or found[1] <= self._clock.now():
            raise GameNodeError(Code.UNAUTHENTICATED, "the login token is unknown or has expired; log in again")
        return found[0]

    def admit(self, uid: int) -> tuple[str, float]:
        """A token for a user and the seconds it is good for. Raises GameNodeError(PERMISSION_DENIED)."""
        role = self._roles.of(uid)
        name = _user_name(uid)
        if role is None:
            raise GameNodeError(
                Code.PERMISSION_DENIED,
                f"user {name} has no role on this server; an admin can give one: `gamenode user create`",
            )
        now = self._clock.now()
        token = self._by_uid.get(uid)
        if token is not None:
            principal, ends = self._by_token[token]
            if ends - now >= self._lifetime / 2 and principal.role is role:
                # A loop of short commands must not pile up tokens.
                return token, ends - now
        for old in [t for t, (_, ends) in self._by_token.items() if ends <= now]:
            del self._by_token[old]
        token = secrets.token_urlsafe(32)
        principal = Principal(name=name, role=role, kind="local", source=_source(uid))
        self._by_token[token] = (principal, now + self._lifetime)
        self._by_uid = {u: t for u, t in self._by_uid.items() if t in self._by_token} | {uid: token}
        return token, self._lifetime

    def use(self, roles: UnixRoles) -> list[str]:
        """Counts with these roles from now on. Whoever has another one by it must log in again: their sources."""
        self._roles = roles
        now_by_uid = {uid: roles.of(uid) for uid in self._by_uid}
        changed = [_source(uid) for uid, role in now_by_uid.items() if self._role(uid) is not role]
        self._by_token = {t: found for t, found in self._by_token.items() if found[0].source not in changed}
        self._by_uid = {u: t for u, t in self._by_uid.items() if t in self._by_token}
        return changed

    def _role(self, uid: int) -> Role | None:
        return self._by_token[self._by_uid[uid]][0].role

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                token, lifetime = self.admit(_peer_uid(writer.get_extra_info("socket")))
                answer: dict[str, object] = {"token": token, "lifetime": lifetime}
            except GameNodeError as error:
                logger.warning("login refused: %s", error.message)
                answer = {"error": {"code": error.code.value, "message": error.message}}
            writer.write(json.dumps(answer).encode() + b"\n")
            async with asyncio.timeout(_WRITE_TIMEOUT):
                await writer.drain()
        except (OSError, TimeoutError) as error:
            logger.debug("a login was not answered: %s", error)
        finally:
            writer.close()


def _peer_uid(connection: socket.socket) -> int:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # not Linux: the socket's mode lets nobody else in
        return os.getuid()
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return int(uid)


def _source(uid: int) -> str:
    return f"unix:uid={uid}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"

"""Users: operators whom an admin named, with a certificate or with a Unix login, and whether one still counts.

Made and revoked in one operation each, with its audit row. A user that no longer counts gives its name free. Of a
user's key only the public half is ever here.
"""

from __future__ import annotations

import contextlib
import grp
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.quantities import format_duration
from gamenode_server.controller.effects import UserChanged
from gamenode_server.identity.certificates import DAY, Kind, PeerCertificate, PublicKey, serial_text
from gamenode_server.identity.names import check_name
from gamenode_server.identity.principals import Role
from gamenode_server.records import NewAudit, NewEvent, User
from gamenode_server.store.tx import Tx

DEFAULT_TTL = 90 * DAY
MAX_TTL = 366 * DAY
#: Who acts in events and audit rows without being a user.
_RESERVED = frozenset({"anonymous", "server"})


@dataclass(frozen=True, slots=True)
class UserWish:
    """What a user shall be. Either a Unix user or group, or a certificate for `key` that lives `ttl` seconds."""

    name: str
    role: str
    unix_user: str = ""
    unix_group: str = ""
    key: PublicKey | None = None
    ttl: float = 0.0

    def checked(self) -> UserWish:
        """The same with defaults filled in. Raises GameNodeError(INVALID_ARGUMENT) for what cannot be."""
        check_name(self.name, "user")
        if self.name in _RESERVED:
            raise _bad(f"{self.name!r} is a name of the server's own")
        if self.role not in list(Role):
            raise _bad(f"{self.role!r} is no role: {', '.join(Role)}")
        if bool(self.unix_user) + bool(self.unix_group) + (self.key is not None) != 1:
            raise _bad("a user has a certificate request, a Unix user or a Unix group: one of them")
        if self.key is None:
            if self.ttl:
                raise _bad("a lifetime is for certificates; a Unix user or group counts until it is revoked")
            _check_known(self.unix_user, self.unix_group)
            return self
        ttl = self.ttl or DEFAULT_TTL
        if not 0 < ttl <= MAX_TTL:
            raise _bad(
                f"a certificate lives at most {MAX_TTL / DAY:g} days and more than no time, not {format_duration(ttl)}"
            )
        return replace(self, ttl=ttl)


class SignsUsers(Protocol):
    """Makes user certificates. Pure: the same arguments give an equivalent certificate."""

    def __call__(self, key: PublicKey, *, kind: Kind, name: str, serial: int, not_after: float, life: float) -> str:
        """The certificate of the user with this name, PEM."""
        ...


@dataclass(frozen=True, slots=True)
class Created:
    """A new user, with its certificate where it has one."""

    user: User
    certificate_pem: str = ""


def create_user(
    wish: UserWish, sign: SignsUsers, *, serial: int, wall: float, by: str, audit: NewAudit
) -> Callable[[Tx], Created]:
    """Stores a checked wish as a user. ALREADY_EXISTS where a user of this name counts."""

    def op(tx: Tx) -> Created:
        old = tx.user(wish.name)
        if old is not None and refusal(old, wall=wall) is None:
            raise GameNodeError(
                Code.ALREADY_EXISTS,
                f"a user {wish.name} exists already ({old.role}): "
                f"choose another name, or `gamenode user revoke {wish.name}` first",
            )
        user = User(
            wish.name, wish.role, created_at=tx.now, created_by=by, unix_user=wish.unix_user, unix_group=wish.unix_group
        )
        pem = ""
        if wish.key is not None:
            not_after = float(int(wall + wish.ttl))
            pem = sign(wish.key, kind="user", name=wish.name, serial=serial, not_after=not_after, life=wish.ttl)
            user = replace(user, certificate_serial=serial_text(serial), certificate_not_after=not_after)
        tx.put_user(user)
        tx.emit([NewEvent(type="user.created", actor=by, data={"user": user.name, "role": user.role})])
        tx.audit(audit)
        tx.effect(UserChanged(user.name))
        return Created(user, pem)

    return op


def revoke_user(name: str, *, by: str, reason: str, audit: NewAudit) -> Callable[[Tx], User]:
    """Refuses the user from now on, and ends its calls. NOT_FOUND where there is none of this name."""

    def op(tx: Tx) -> User:
        user = tx.user(name)
        if user is None:
            raise GameNodeError(Code.NOT_FOUND, f"there is no user {name!r}: `gamenode user ls` lists them")
        tx.audit(audit)
        if user.revoked_at:
            return user
        user = replace(user, revoked_at=tx.now, revoked_by=by)
        tx.put_user(user)
        tx.emit([NewEvent(type="user.revoked", actor=by, data={"user": name, "reason": reason})])
        tx.effect(UserChanged(name, _revoked(name).error))
        return user

    return op


def refusal(user: User | None, *, wall: float) -> GameNodeError | None:
    """Why this user does not count, whatever it shows; None where nothing speaks against it."""
    if user is None:
        return GameNodeError(Code.UNAUTHENTICATED, "this server does not know the user of this certificate")
    if user.revoked_at:
        return _revoked(user.name)
    if user.certificate_not_after and wall >= user.certificate_not_after:
        return expired(user.name)
    return None


def admit(user: User | None, certificate: PeerCertificate, *, wall: float) -> User:
    """The user that shows this certificate. Raises GameNodeError: UNAUTHENTICATED or REVOKED."""
    refused = refusal(user, wall=wall)
    if refused is not None:
        raise refused
    assert user is not None
    if certificate.serial != user.certificate_serial:
        raise GameNodeError(
            Code.UNAUTHENTICATED, f"this certificate of user {user.name} has been replaced by a newer one"
        )
    return user


def unix_roles(users: Iterable[User]) -> dict[str, Role]:
    """The roles of local users and, with `@` before them, groups; the highest where several users name the same."""
    found: dict[str, Role] = {}
    for user in users:
        login = user.unix_user or (f"@{user.unix_group}" if user.unix_group else "")
        if not login or user.revoked_at:
            continue
        role = Role(user.role)
        if login not in found or role.covers(found[login]):
            found[login] = role
    return found


def expired(name: str) -> GameNodeError:
    """What a user hears whose certificate has ended."""
    return GameNodeError(
        Code.UNAUTHENTICATED,
        f"the certificate of user {name} has expired: an admin makes another with `gamenode user create {name}`",
    )


def _revoked(name: str) -> GameNodeError:
    return GameNodeError(
        Code.REVOKED, f"user {name} has been revoked: an admin can make it anew with `gamenode user create {name}`"
    )


def _check_known(unix_user: str, unix_group: str) -> None:
    """A login that the server's host does not know is a typing mistake."""
    if unix_user.isdecimal():
        return
    with contextlib.suppress(KeyError):
        pwd.getpwnam(unix_user) if unix_user else grp.getgrnam(unix_group)
        return
    what = f"Unix user {unix_user!r}" if unix_user else f"Unix group {unix_group!r}"
    raise _bad(f"the server's host knows no {what}")


def _bad(message: str) -> GameNodeError:
    return GameNodeError(Code.INVALID_ARGUMENT, message)

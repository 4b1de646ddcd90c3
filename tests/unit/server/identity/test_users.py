"""Roles of users on the server's host, and the tokens of those whose role changes."""

from __future__ import annotations

import os
import pwd

from gamenode_server.identity.login import LoginDesk, UnixRoles
from gamenode_server.identity.principals import Principal, Role
from gamenode_server.identity.users import unix_roles
from gamenode_server.records import User
from support.stores import ManualClock

NOBODY = pwd.getpwnam("nobody").pw_uid


def user(name: str, role: Role, **fields: object) -> User:
    return User(name, role, created_at=1.0, created_by="root", **fields)  # type: ignore[arg-type]


def test_the_highest_role_of_a_login_counts_and_no_revoked_one() -> None:
    users = [
        user("a", Role.VIEWER, unix_user="alice"),
        user("b", Role.OPERATOR, unix_user="alice"),
        user("c", Role.ADMIN, unix_user="alice", revoked_at=2.0),
        user("d", Role.VIEWER, unix_group="ops"),
        user("e", Role.ADMIN, certificate_serial="1"),
    ]
    assert unix_roles(users) == {"alice": Role.OPERATOR, "@ops": Role.VIEWER}


def test_what_the_settings_say_is_not_lowered() -> None:
    configured = UnixRoles.parse(("nobody=operator",))
    assert configured.with_more({"nobody": Role.VIEWER}).of(NOBODY) is Role.OPERATOR
    assert configured.with_more({"nobody": Role.ADMIN}).of(NOBODY) is Role.ADMIN


def test_only_those_whose_role_changes_lose_their_tokens() -> None:
    desk = LoginDesk(roles=UnixRoles.parse(("nobody=viewer",)), clock=ManualClock())
    theirs, mine = desk.admit(NOBODY)[0], desk.admit(os.getuid())[0]
    assert desk.use(UnixRoles.parse(("nobody=viewer", "other=admin"))) == []
    assert desk.principal_of(theirs).role is Role.VIEWER
    assert desk.use(UnixRoles.parse(("nobody=admin",))) == [f"unix:uid={NOBODY}"]
    assert desk.principal_of(mine).role is Role.ADMIN
    assert desk.principal_of(desk.admit(NOBODY)[0]).role is Role.ADMIN
    assert desk.use(UnixRoles.parse(())) == [f"unix:uid={NOBODY}"]


def test_callers_are_told_apart_by_how_they_came() -> None:
    """A certificate's user `eu-1` is neither the node of this name nor a local user."""
    callers = [
        Principal("node:eu-1", None, "node", node_id="aaaabbbbcccc"),
        Principal("eu-1", Role.VIEWER, "operator", source="10.0.0.1"),
        Principal("eu-1", Role.VIEWER, "local", source="unix:uid=7"),
    ]
    assert [caller.key for caller in callers] == ["aaaabbbbcccc", "user:eu-1", "unix:uid=7"]

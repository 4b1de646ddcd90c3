from __future__ import annotations

import importlib
import pkgutil

import pytest

import gamenode_proto.v1
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.identity.principals import Principal, Role
from gamenode_server.identity.roles import RULES, check, rule_of


def methods() -> list[str]:
    """Every method of every service in gamenode.v1, from the descriptors."""
    found = []
    for module in pkgutil.iter_modules(gamenode_proto.v1.__path__):
        if module.name.endswith("_pb2"):
            descriptor = importlib.import_module(f"gamenode_proto.v1.{module.name}").DESCRIPTOR
            for service in descriptor.services_by_name.values():
                found += [f"/{service.full_name}/{method.name}" for method in service.methods]
    return found


def test_there_are_methods() -> None:
    assert len(methods()) > 30


@pytest.mark.parametrize("method", methods())
def test_every_method_has_a_rule(method: str) -> None:
    assert method in RULES, f"{method} has no row in identity/roles.py: nobody could call it"


def test_no_rule_is_about_a_method_that_does_not_exist() -> None:
    ours = {method for method in RULES if method.startswith("/gamenode.")}
    assert ours == set(methods())


READS = {"List", "Get", "Watch", "Render", "Explain", "Tail", "Read", "WhoAmI", "Verify", "Download"}


@pytest.mark.parametrize("method", [m for m, rule in RULES.items() if rule.caller == "operator"])
def test_what_changes_something_is_audited_and_nothing_for_viewers(method: str) -> None:
    rule, name = RULES[method], method.rpartition("/")[2]
    reads = any(name.startswith(word) for word in READS) or "reflection" in method
    assert rule.mutates is not reads
    assert rule.role is not None
    if rule.mutates:
        assert not Role.VIEWER.covers(rule.role)


def test_a_method_without_a_rule_is_refused() -> None:
    with pytest.raises(GameNodeError) as caught:
        rule_of("/gamenode.v1.StateManagement/FormatDisks")
    assert caught.value.code is Code.PERMISSION_DENIED


def allowed(principal: Principal, method: str) -> bool:
    try:
        check(rule_of(method), principal, method)
    except GameNodeError as error:
        return error.code is not Code.PERMISSION_DENIED or principal.name not in error.message
    return True


def test_roles_include_those_below_and_nobody_is_everybody() -> None:
    people = {role: Principal(role.value, role, "local") for role in Role}
    node = Principal("node:a", None, "node", node_id="a")
    nobody = Principal("anonymous", None, "anonymous")
    runs, lists, revokes = (
        "/gamenode.v1.PipelineManagement/RunPipeline",
        "/gamenode.v1.PipelineManagement/ListRuns",
        "/gamenode.v1.StateManagement/RevokeNode",
    )
    assert [allowed(people[r], lists) for r in Role] == [True, True, True]
    assert [allowed(people[r], runs) for r in Role] == [False, True, True]
    assert [allowed(people[r], revokes) for r in Role] == [False, False, True]
    assert not any(allowed(who, method) for who in (node, nobody) for method in (lists, runs, revokes))
    session = "/gamenode.v1.AgentLink/Session"
    assert allowed(node, session)
    assert not any(allowed(who, session) for who in (*people.values(), nobody))
    assert all(allowed(who, "/gamenode.v1.Enrolment/Join") for who in (*people.values(), node, nobody))

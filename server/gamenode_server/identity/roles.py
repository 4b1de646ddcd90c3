"""Which method needs what: one table over every service, and whatever is not in it is refused.

A test walks the descriptors of `gamenode.v1` and fails for a method without a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, assert_never

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.identity.principals import Principal, Role

#: `anyone` needs no identity, `node` a node's certificate, `operator` a role.
Caller = Literal["anyone", "node", "operator"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a method needs. `mutates` methods leave a row in the audit log, also when they are refused."""

    caller: Caller
    role: Role | None = None
    mutates: bool = False


_ANYONE = Rule("anyone")
#: Enrolment writes its own rows: who joins is known only inside the call.
_NODE = Rule("node")
_SEES = Rule("operator", Role.VIEWER)
_AUDITS = Rule("operator", Role.ADMIN)
_OPERATES = Rule("operator", Role.OPERATOR, mutates=True)
_ADMINISTERS = Rule("operator", Role.ADMIN, mutates=True)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "/gamenode.v1.Enrolment/Join": _ANYONE,
        "/gamenode.v1.Enrolment/Recover": _ANYONE,
        "/gamenode.v1.Enrolment/WhyRefused": _ANYONE,
        "/gamenode.v1.AgentLink/Session": _NODE,
        "/gamenode.v1.AgentLink/Logs": _NODE,
        "/gamenode.v1.AgentLink/FetchBundle": _NODE,
        "/gamenode.v1.AgentLink/FetchSecrets": _NODE,
        "/gamenode.v1.AgentLink/Answer": _NODE,
        "/gamenode.v1.AgentLink/OfferArtifact": _NODE,
        "/gamenode.v1.AgentLink/UploadArtifact": _NODE,
        "/gamenode.v1.AgentLink/FetchArtifact": _NODE,
        "/gamenode.v1.AgentLink/SweepArtifacts": _NODE,
        "/gamenode.v1.AgentLink/RenewCertificate": _NODE,
        "/gamenode.v1.PipelineManagement/ApplyPipelines": _OPERATES,
        "/gamenode.v1.PipelineManagement/ListPipelines": _SEES,
        "/gamenode.v1.PipelineManagement/GetPipeline": _SEES,
        "/gamenode.v1.PipelineManagement/ListPipelineVersions": _SEES,
        "/gamenode.v1.PipelineManagement/RemovePipelines": _OPERATES,
        "/gamenode.v1.PipelineManagement/RenderPipeline": _SEES,
        "/gamenode.v1.PipelineManagement/RunPipeline": _OPERATES,
        "/gamenode.v1.PipelineManagement/ListRuns": _SEES,
        "/gamenode.v1.PipelineManagement/GetRun": _SEES,
        "/gamenode.v1.PipelineManagement/CancelRuns": _OPERATES,
        "/gamenode.v1.PipelineManagement/SetRunPaused": _OPERATES,
        "/gamenode.v1.PipelineManagement/Decide": _OPERATES,
        "/gamenode.v1.PipelineManagement/ResolveTask": _OPERATES,
        "/gamenode.v1.PipelineManagement/ExplainRun": _SEES,
        "/gamenode.v1.PipelineManagement/WatchRun": _SEES,
        "/gamenode.v1.PipelineManagement/WatchRuns": _SEES,
        "/gamenode.v1.PipelineManagement/RetryRun": _OPERATES,
        "/gamenode.v1.PipelineManagement/ListSchedules": _SEES,
        "/gamenode.v1.PipelineManagement/SetSchedulesPaused": _OPERATES,
        "/gamenode.v1.StateManagement/GetStatus": _SEES,
        "/gamenode.v1.StateManagement/ListNodes": _SEES,
        "/gamenode.v1.StateManagement/GetNode": _SEES,
        "/gamenode.v1.StateManagement/GetNodeMetrics": _SEES,
        "/gamenode.v1.StateManagement/LabelNode": _OPERATES,
        "/gamenode.v1.StateManagement/SetNodeAdminState": _OPERATES,
        "/gamenode.v1.StateManagement/RevokeNode": _ADMINISTERS,
        "/gamenode.v1.StateManagement/RemoveNode": _ADMINISTERS,
        "/gamenode.v1.StateManagement/WatchNodes": _SEES,
        "/gamenode.v1.StateManagement/WatchEvents": _SEES,
        "/gamenode.v1.StateManagement/TailLogs": _SEES,
        "/gamenode.v1.StateManagement/ReadLog": _SEES,
        "/gamenode.v1.StateManagement/ListContainers": _SEES,
        "/gamenode.v1.StateManagement/TailContainerLogs": _SEES,
        "/gamenode.v1.StateManagement/StopContainer": _OPERATES,
        "/gamenode.v1.StateManagement/RemoveContainer": _OPERATES,
        "/gamenode.v1.Administration/WhoAmI": _SEES,
        "/gamenode.v1.Administration/CreateJoinToken": _ADMINISTERS,
        "/gamenode.v1.Administration/CreateUser": _ADMINISTERS,
        "/gamenode.v1.Administration/ListUsers": _AUDITS,
        "/gamenode.v1.Administration/RevokeUser": _ADMINISTERS,
        "/gamenode.v1.Administration/ListAudit": _AUDITS,
        "/gamenode.v1.Administration/VerifyAudit": _AUDITS,
        "/gamenode.v1.Artifacts/ListArtifacts": _SEES,
        "/gamenode.v1.Artifacts/OfferArtifact": _OPERATES,
        "/gamenode.v1.Artifacts/UploadArtifact": _OPERATES,
        "/gamenode.v1.Artifacts/DownloadArtifact": _SEES,
        "/gamenode.v1.Artifacts/RemoveArtifacts": _OPERATES,
        "/gamenode.v1.Notifiers/ListNotifiers": _SEES,
        "/gamenode.v1.Notifiers/TestNotifier": _OPERATES,
        "/grpc.health.v1.Health/Check": _ANYONE,
        "/grpc.health.v1.Health/List": _ANYONE,
        "/grpc.health.v1.Health/Watch": _ANYONE,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _SEES,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _SEES,
    }
)


def rule_of(method: str) -> Rule:
    """The rule of a method, by its full name (`/package.Service/Method`). PERMISSION_DENIED where it has none."""
    rule = RULES.get(method)
    if rule is None:
        raise GameNodeError(Code.PERMISSION_DENIED, f"nobody may call {method}")
    return rule


def check(rule: Rule, principal: Principal, method: str) -> None:
    """Raises GameNodeError(PERMISSION_DENIED) where the caller may not call the method."""
    match rule.caller:
        case "anyone":
            return
        case "node":
            if principal.kind != "node":
                raise GameNodeError(Code.PERMISSION_DENIED, f"{_short(method)} is for nodes, not for {principal.name}")
        case "operator":
            if principal.role is None or rule.role is None or not principal.role.covers(rule.role):
                raise GameNodeError(
                    Code.PERMISSION_DENIED,
                    f"{_short(method)} needs the role {rule.role}, and {principal.name} is {principal.role or 'none'}",
                )
        case _:
            assert_never(rule.caller)


def _short(method: str) -> str:
    return method.rpartition("/")[2]

"""What triggers do with runs, as the server does it for operators."""

from __future__ import annotations

from collections.abc import Mapping

from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.core import Core
from gamenode_server.rpc import run_starts


class TriggeredRuns:
    """Starts the runs of triggers."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def start(
        self,
        pipeline: str,
        params: Mapping[str, str],
        *,
        node: str,
        by: str,
        request_id: str,
        note: str,
        chain: tuple[str, ...],
    ) -> str:
        """Starts a run once for every request id, on the node where one is given; its id."""
        answer = await self._core.store.apply(lambda tx: tx.answer(by, request_id))
        if answer is not None:  # labels, or the pipeline, may be others than they were then
            return answer[1]
        values = {name: common_pb2.Value(text=text) for name, text in params.items()}
        nodes = [node] if node else []
        request = pb.RunPipelineRequest(name=pipeline, params=values, request_id=request_id, note=note, nodes=nodes)
        return await run_starts.start_by_itself(self._core, request, by=by, source="trigger", chain=chain)

"""What a plan keeps of inlined pipelines, as messages."""

from __future__ import annotations

from gamenode_pipelines.plan import Argument, Inlined
from gamenode_proto.codec.values import scalar_from_proto, scalar_to_proto
from gamenode_proto.v1 import plan_pb2


def inlined_to_proto(step: str, inlined: Inlined) -> plan_pb2.Inlined:
    """An inlined pipeline as a message; `step` stands for it."""
    return plan_pb2.Inlined(
        step=step,
        pipeline=inlined.pipeline,
        version=inlined.version,
        arguments=[
            plan_pb2.Argument(
                name=argument.name,
                value=scalar_to_proto(argument.value),
                type=argument.type,
                choices=argument.choices,
                min=argument.min,
                max=argument.max,
            )
            for argument in inlined.arguments
        ],
        env=inlined.env,
        given_env=inlined.given_env,
    )


def inlined_from_proto(message: plan_pb2.Inlined) -> Inlined:
    """The inlined pipeline in a message."""
    return Inlined(
        pipeline=message.pipeline,
        version=message.version,
        arguments=tuple(
            Argument(
                name=argument.name,
                value=scalar_from_proto(argument.value),
                type=argument.type,
                choices=tuple(argument.choices),
                min=argument.min if argument.HasField("min") else None,
                max=argument.max if argument.HasField("max") else None,
            )
            for argument in message.arguments
        ),
        env=dict(message.env),
        given_env=dict(message.given_env),
    )

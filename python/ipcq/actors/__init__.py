"""Actors: classes and functions that answer messages, each with a queue of calls of its own. docs/guide/actors.md."""

from .._errors import ActorError
from ._ref import ActorRef, actor_ref
from ._runtime import ActorRuntime
from ._spec import actor
from ._states import ActorState, FailureCode
from ._telemetry import ActorTelemetry, Latency

__all__ = [
    "ActorError",
    "ActorRef",
    "ActorRuntime",
    "ActorState",
    "ActorTelemetry",
    "FailureCode",
    "Latency",
    "actor",
    "actor_ref",
]

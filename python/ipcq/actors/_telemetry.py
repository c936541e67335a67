"""What an actor has done, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._states import ActorState


@dataclass(frozen=True)
class Latency:
    """Seconds from when a worker took a message until it had the answer.

    The percentiles come from a histogram of powers of two: within a factor of two, and between ``min`` and ``max``.
    """

    count: int
    mean: float
    min: float
    max: float
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class ActorTelemetry:
    """An actor's counters since it was launched. None: what is not known of this kind of actor.

    Always ``received == completed + failed + lost + in_flight``.

    Attributes:
        name: Of the actor, and of its queue.
        state: Where it is in its life.
        tier: ``async``, ``thread``, ``process``; ``handler``: the queue's handler answers.
        priority: Its label.
        workers: That run now.
        received: Messages that workers have taken.
        completed: Of these: answered.
        failed: Of these: the handler raised, or the message was no value of the type.
        lost: Of these: its worker was killed meanwhile. (With ``on_death="redeliver"`` another receives it again.)
        cancelled: Of those completed or failed: nobody waited for the answer any more.
        in_flight: Of these: in work now.
        waiting: Messages in the queue that nobody has taken.
        rejected: Failed by the runtime, without a worker: the actor had failed or was terminated.
        restarts: Workers, and instances, that were started again.
        busy_seconds: Time in which a worker had at least one message, summed over workers.
        latency: Of messages that were answered or failed; None: of none yet.
        since: When it was launched, in seconds of ``time.time()``.
    """

    name: str
    state: ActorState
    tier: str
    priority: int
    workers: int | None
    received: int
    completed: int | None
    failed: int | None
    lost: int | None
    cancelled: int | None
    in_flight: int | None
    waiting: int
    rejected: int
    restarts: int | None
    busy_seconds: float | None
    latency: Latency | None
    since: float

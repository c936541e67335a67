"""The states of an actor, and what leads from one to another."""

from __future__ import annotations

import enum

from .._errors import UsageError


class ActorState(enum.Enum):
    """Where an actor is in its life.

    launch            activate          deactivate
    -----> LAUNCHED ----------> ACTIVE ------------> INACTIVE
                                ^  |  <------------     |
                      reactivate|  |    reactivate      |
                                |  v                    v
                               FAILED  <---- too many restarts, on_error="stop"

    and from each by terminate over TERMINATING to TERMINATED.
    """

    LAUNCHED = "launched"
    """Its queue takes messages, which wait; no worker runs."""
    ACTIVE = "active"
    """Workers answer."""
    INACTIVE = "inactive"
    """Its queue takes messages, which wait; workers have nothing new."""
    FAILED = "failed"
    """It answers no more: each message fails at once, with the reason."""
    TERMINATING = "terminating"
    """Its queue takes nothing; workers finish what is there."""
    TERMINATED = "terminated"
    """Its queue is gone."""


class FailureCode(enum.IntEnum):
    """``CallFailed.code`` of messages that the runtime has failed, and not the actor."""

    TERMINATED = 0xFFFFFFFE
    """The actor was terminated before it came to the message, or while it worked on it."""
    ACTOR_FAILED = 0xFFFFFFFD
    """The actor has failed."""


_S = ActorState
_LEGAL: dict[str, dict[ActorState, ActorState]] = {
    "activate": {_S.LAUNCHED: _S.ACTIVE, _S.ACTIVE: _S.ACTIVE},
    "deactivate": {_S.ACTIVE: _S.INACTIVE, _S.INACTIVE: _S.INACTIVE},
    "reactivate": {_S.INACTIVE: _S.ACTIVE, _S.FAILED: _S.ACTIVE, _S.ACTIVE: _S.ACTIVE},
}
_REMEDY = {
    _S.LAUNCHED: "it does not work yet, and its messages wait: activate() it first",
    _S.ACTIVE: "it works already",
    _S.INACTIVE: "it was deactivated: reactivate() lets it go on",
    _S.FAILED: "it has failed: reactivate() starts it anew, terminate() ends it",
    _S.TERMINATING: "it is being terminated: wait for that, and launch() it anew",
    _S.TERMINATED: "it was terminated: launch() it anew",
}


def next_state(name: str, state: ActorState, transition: str) -> ActorState:
    """Where a transition leads; the same state: nothing is to be done. Raises UsageError: it is refused."""
    to = _LEGAL[transition].get(state)
    if to is None:
        raise UsageError(f"actor '{name}' is {state.value}, and cannot {transition}: {_REMEDY[state]}")
    return to

"""What references of a process share: a session for each broker, and a client for each thread and actor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _broker
from .._errors import Error, NotFoundError, UsageError
from .._session import Session, connect
from ._codecs import Codec, codec_of

if TYPE_CHECKING:
    from .._client import Client
    from .._stats import QueueStats


@dataclass(frozen=True)
class Address:
    """Where an actor is, and what it takes. The types are None where the queue is to say."""

    broker: str
    name: str
    input: Any
    output: Any


class Link:
    """A client of an actor's queue, with the types of that."""

    def __init__(self, client: Client, asks: Codec, answers: Codec) -> None:
        self.client = client
        self.input = asks
        self.output = answers


class _Process:
    """Of one process: a child of a fork has another."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.sessions: dict[str, Session] = {}
        self.of_thread = threading.local()


_process = _Process()


def running_loop() -> bool:
    """Whether this thread runs an event loop, which must not be held up."""
    return asyncio._get_running_loop() is not None  # noqa: SLF001 - the one that raises nothing


def _here() -> _Process:
    global _process
    if _process.pid != os.getpid():
        _process = _Process()
    return _process


def link(to: Address) -> Link:
    """This thread's client of the actor; opens it where there is none. Raises as ``open_link()``."""
    local = _here().of_thread
    try:
        found: Link | None = local.links.get(to)
    except AttributeError:
        local.links = {}
        found = None
    if found is None:
        found = local.links[to] = open_link(to)
    return found


def drop(to: Address) -> None:
    """This thread's client of the actor is of no use any more."""
    links = getattr(_here().of_thread, "links", {})
    gone = links.pop(to, None)
    if gone is not None:
        close(gone)


def close(gone: Link) -> None:
    """Closes a client whose actor, or broker, may have gone."""
    with contextlib.suppress(Error):
        gone.client.close()


def open_link(to: Address) -> Link:
    """Opens a client.

    Raises:
        NotFoundError: No such broker, or no such actor.
        UsageError: The actor has other types; the queue is none of calls.
    """
    try:
        queue = next((one for one in _broker.stats(to.broker).queues if one.name == to.name), None)
    except NotFoundError as error:
        raise NotFoundError(f"actor '{to.name}': {error}") from None
    if queue is None:
        raise NotFoundError(
            f"there is no actor '{to.name}' at broker '{to.broker}': it was not launched, or was terminated"
        )
    if not queue.calls:
        raise UsageError(f"'{to.name}' is no actor, but a queue of messages: open a producer or a consumer of it")
    asks, answers = _codec(to.input, queue.schema, queue), _codec(to.output, queue.result_schema, queue)
    room = 0
    if queue.slot_bytes:
        room = queue.slot_bytes if answers.size is None else answers.size
    client = _session(to.broker).client(
        to.name, reply_bytes=room, needs_server=True, schema=asks.schema, result_schema=answers.schema
    )
    return Link(client, asks, answers)


def _codec(of: Any, schema: str, queue: QueueStats) -> Codec:
    if of is None and schema == "tensor":
        import numpy as np

        of = np.ndarray
    return codec_of(of, handler=bool(queue.handler))


def _session(broker: str) -> Session:
    here = _here()
    with here.lock:
        session = here.sessions.get(broker)
        if session is not None:
            return session
    session = connect(broker)
    with here.lock:
        return here.sessions.setdefault(broker, session)


def drop_session(broker: str) -> None:
    """Its broker has gone, or has another of the same name behind it."""
    here = _here()
    with here.lock:
        session = here.sessions.pop(broker, None)
    if session is not None:
        with contextlib.suppress(Error):
            session.close()

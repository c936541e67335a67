"""What references of a process share: a session for each broker, and a client for each thread and actor."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _broker
from .._errors import ClosedError, Error, NotFoundError, PeerDeadError, SystemError, UsageError
from .._session import Session, connect
from ._codecs import Codec, codec_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._client import Call, Client
    from .._stats import QueueStats

_numbers = itertools.count()
_BROKEN = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)  # of a session whose broker has ended


@dataclass(frozen=True)
class Address:
    """Where an actor is, and what it takes. The types are None where the queue is to say."""

    broker: str
    name: str
    input: Any
    output: Any


class Link:
    """A client of an actor's queue, with the types of that.

    Attributes:
        retired: Another takes its place. It is closed once its last call has ended.
    """

    def __init__(self, to: Address, session: Session, client: Client, asks: Codec, answers: Codec) -> None:
        self.to = to
        self.session = session
        self.client = client
        self.input = asks
        self.output = answers
        self.number = next(_numbers)
        self.retired = False
        self._sending = 0

    def send(self, message: Any, timeout: float | None, waits: bool) -> Call:
        """Asks, in the thread whose link it is. Raises as ``Codec.send()``; ClosedError, too, when it is retired."""
        self._sending += 1  # before the look at `retired`: who closes it has written that before it looks at this one
        try:
            if self.retired:
                raise ClosedError(f"actor '{self.to.name}': its queue has gone")
            return self.input.send(self.client, message, timeout, waits)
        finally:
            self._sending -= 1

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way, and none is being sent."""
        return not self._sending and not self.client.calls_under_way


class _Thread:
    """What one thread has, and loses when it ends."""

    def __init__(self) -> None:
        self.links: dict[Address, Link] = {}


class _Process:
    """Of one process: a child of a fork has another."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.RLock()  # a collected stream comes back to it at any point
        self.sessions: dict[str, Session] = {}
        self.of_thread = threading.local()
        self.threads: weakref.WeakSet[_Thread] = weakref.WeakSet()
        self.retired: list[Link] = []


_process = _Process()


def _here() -> _Process:
    global _process
    if _process.pid != os.getpid():
        _process = _Process()
    return _process


def link(to: Address) -> Link:
    """This thread's client of the actor; opens it where there is none. Raises as ``open_link()``."""
    here = _here()
    try:
        mine: _Thread = here.of_thread.mine
    except AttributeError:
        mine = here.of_thread.mine = _Thread()
        with here.lock:
            here.threads.add(mine)
    found = mine.links.get(to)
    if found is None:
        found = mine.links[to] = open_link(to)
    return found


def drop(gone: Link, error: Error) -> None:
    """A client is of no use any more, as an error of it says.

    With it go those that other threads have opened of the same queue, and with a broker that has died its session.
    """
    if isinstance(error, PeerDeadError):
        _retire(gone.to.broker, lambda one: one.session is gone.session)
        _forget_session(gone.to.broker, gone.session)
    else:
        _retire(gone.to.broker, lambda one: one.to.name == gone.to.name and one.number <= gone.number)


def close(gone: Link) -> None:
    """Closes a client whose actor, or broker, may have gone."""
    with contextlib.suppress(Error):
        gone.client.close()


def close_retired() -> None:
    """Closes the clients that were retired, and whose last call has ended."""
    here = _here()
    for one in list(here.retired):
        if not one.is_idle:
            continue
        with here.lock:
            if one not in here.retired:
                continue  # another thread closes it
            here.retired.remove(one)
        close(one)


def _retire(broker: str, which: Callable[[Link], bool]) -> None:
    here = _here()
    with here.lock:
        for thread in list(here.threads):
            for to, one in list(thread.links.items()):
                if to.broker == broker and which(one):
                    del thread.links[to]
                    one.retired = True
                    here.retired.append(one)
    close_retired()


def queue_of(to: Address) -> QueueStats:
    """What the broker says of an actor's queue. Clients of queues that it has no more are retired.

    Raises:
        NotFoundError: No such broker, or no such actor.
        ClosedError: The actor is being terminated.
        UsageError: The queue is none of calls.
    """
    session = _here().sessions.get(to.broker)
    try:
        queues = {one.name: one for one in _broker.stats(to.broker).queues}
    except NotFoundError as error:
        if session is not None:
            _retire(to.broker, lambda one: one.session is session)
            _forget_session(to.broker, session)
        raise NotFoundError(f"actor '{to.name}': {error}") from None
    _retire(to.broker, lambda one: one.to.name not in queues)
    queue = queues.get(to.name)
    if queue is None:
        raise NotFoundError(
            f"there is no actor '{to.name}' at broker '{to.broker}': it was not launched, or was terminated"
        )
    if not queue.calls:
        raise UsageError(f"'{to.name}' is no actor, but a queue of messages: open a producer or a consumer of it")
    if queue.state != "open":
        raise ClosedError(f"actor '{to.name}' takes nothing more: it is being terminated; launch it anew")
    return queue


def open_link(to: Address) -> Link:
    """Opens a client.

    Raises:
        UsageError: The actor has other types. As ``queue_of()``.
    """
    queue = queue_of(to)
    asks, answers = _codec(to.input, queue.schema, queue), _codec(to.output, queue.result_schema, queue)
    room = 0
    if queue.slot_bytes:
        room = queue.slot_bytes if answers.size is None else answers.size
    known = _here().sessions.get(to.broker)
    session = known or _session(to.broker)
    while True:
        try:
            client = session.client(
                to.name, reply_bytes=room, needs_server=True, schema=asks.schema, result_schema=answers.schema
            )
            return Link(to, session, client, asks, answers)
        except (SystemError, ClosedError, UsageError) as error:
            if session is not known or not _has_ended(session, error):
                raise
            # The broker that answers is a successor of the one that this session was of.
            _retire(to.broker, lambda one: one.session is known)
            _forget_session(to.broker, session)
            session = _session(to.broker)


def _has_ended(session: Session, error: Error) -> bool:
    return session.closed or isinstance(error, PeerDeadError) or getattr(error, "errno", None) in _BROKEN


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


def _forget_session(broker: str, gone: Session) -> None:
    """Another is opened in its place; it closes with the last of its clients."""
    here = _here()
    with here.lock:
        if here.sessions.get(broker) is gone:
            del here.sessions[broker]


def drop_session(broker: str) -> None:
    """Closes the session of a broker that is about to stop, and all clients of it."""
    here = _here()
    with here.lock:
        session = here.sessions.pop(broker, None)
    if session is not None:
        with contextlib.suppress(Error):
            session.close()
        _retire(broker, lambda one: one.session is session)

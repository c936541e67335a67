"""The embedded broker, and what tools ask of a running one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _core
from ._errors import NotFoundError
from ._options import pool_options, queue_options
from .handlers._base import Handler

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._options import PoolOptions, QueueOptions
    from ._stats import BrokerStats


class Broker(_core.Broker):
    """A broker within this process: it owns queues, and serves the clients of all processes.

    Args:
        name: What clients connect to; empty: ``$IPCQ_BROKER``, else ``default``. A path makes that file the control
            socket.
        group: Unix group whose members may attach; empty: this user alone.
        admin_group: Unix group whose members may create and remove queues; empty: this user and root alone.
        max_queues: Most queues and pools that clients may create together; 0: any number.
        max_memory: Most bytes of /dev/shm and of GPUs that these may take; 0: any.

    As a context manager it stops at the end. A broker that nobody stops does so when the interpreter ends. A forked
    child does not have it.

    Raises:
        UsageError: A live broker has the name.
        PermissionError, SystemError: The text names the object.
    """

    __slots__ = ()

    def create(self, queue: str, **options: Unpack[QueueOptions]) -> None:
        """Creates a queue; see ``QueueOptions``.

        All memory is reserved in the call, which takes up to seconds per GiB.

        Raises:
            UsageError: A bad option, the name is taken, or the broker was stopped.
            BackendError, PermissionError, SystemError: The text says what is missing, and how to get it.
        """
        self._create(queue, queue_options(queue, options))

    def create_pool(self, pool: str, **options: Unpack[PoolOptions]) -> None:
        """Creates a pool, whose slots queues can share (``create(..., pool=...)``). Raises as ``create()``."""
        self._create_pool(pool, pool_options(pool, options))

    def replace_handler(self, queue: str, handler: str | Handler) -> None:
        """Lets another handler go on, between two messages: a file of your own, or what ``ipcq.handler`` has made.

        The state stays. It is compiled while the old one works on.

        Raises:
            NotFoundError: There is no such queue, or no such file.
            UsageError: It does not compile, or the queue's handler is a built-in one or none; the old one stays.
            BackendError: The old one does not return within three seconds, and stays; or a compiler is missing.
        """
        if isinstance(handler, Handler):
            of_queue = next((q for q in self.stats().queues if q.name == queue), None)
            if of_queue is None:
                raise NotFoundError(f"queue '{queue}': there is none of this name to replace the handler of")
            handler = handler.queue_option("cuda" if of_queue.backend == "cuda" else "host")
        super().replace_handler(queue, handler)

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<ipcq.Broker at {self.socket_path}>"


@dataclass(frozen=True)
class BrokerEntry:
    """A broker of this user, live or dead.

    Attributes:
        name: What clients connect to.
        socket_path: Of its control socket; empty: there is none here.
        alive: False: it is dead, and has left files (``ipcq clean`` removes them).
        pid: Of a live one.
    """

    name: str
    socket_path: str
    alive: bool
    pid: int


def list_brokers() -> list[BrokerEntry]:
    """Brokers of this user, by name. Asks no broker."""
    return [BrokerEntry(*entry) for entry in _core.list_brokers()]


def stats(broker: str = "", wait_for: float | None = 0.0) -> BrokerStats:
    """Counters of a running broker; ``wait_for``: seconds to wait for it to appear. Raises NotFoundError."""
    return _core.fetch_stats(broker, wait_for)


def create_queue(queue: str, *, broker: str = "", **options: Unpack[QueueOptions]) -> None:
    """``Broker.create()`` of a running broker. Waits 15 minutes at most for what it does. Raises also NotFoundError."""
    _core.create_queue(queue, queue_options(queue, options), broker)


def create_pool(pool: str, *, broker: str = "", **options: Unpack[PoolOptions]) -> None:
    """``Broker.create_pool()`` of a running broker. Raises as ``create_queue()``."""
    _core.create_pool(pool, pool_options(pool, options), broker)


def remove_queue(queue: str, *, at_once: bool = False, broker: str = "") -> int:
    """``Broker.remove()`` of a running broker."""
    return _core.remove_queue(queue, at_once, broker)


def remove_pool(pool: str, *, broker: str = "") -> None:
    """``Broker.remove_pool()`` of a running broker."""
    _core.remove_pool(pool, broker)


def pause(queue: str, group: str = "", *, broker: str = "") -> None:
    """``Broker.pause()`` of a running broker."""
    _core.pause(queue, group, broker)


def resume(queue: str, group: str = "", *, broker: str = "") -> None:
    """``Broker.resume()`` of a running broker."""
    _core.resume(queue, group, broker)


def drain(queue: str, timeout: float | None = None, *, broker: str = "") -> int:
    """``Broker.drain()`` of a running broker."""
    return _core.drain(queue, timeout, broker)


def end_of_stream(queue: str, *, broker: str = "") -> None:
    """``Broker.end_of_stream()`` of a running broker."""
    _core.end_of_stream(queue, broker)


def dump(queue: str, *, broker: str = "") -> str:
    """``Broker.dump()`` of a running broker."""
    return _core.fetch_dump(queue, broker)

"""Sessions, which open endpoints."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, TypeVar, overload

from . import _core
from ._client import Client
from ._consumer import Consumer
from ._device import DeviceConsumer, DeviceProducer
from ._errors import UsageError, no_pickle
from ._producer import Producer
from ._readiness import Waiting, quiet
from ._schemas import schema_of
from ._server import Server
from ._typed import TypedConsumer, TypedProducer
from ._typed_calls import TypedClient, TypedServer

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, NoReturn

    from typing_extensions import Self, Unpack

    from ._options import ClientOptions, ConsumerOptions, ProducerOptions, ServerOptions, Wait

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")


class Session(_core.Session):
    """A process' connection to one broker. ``connect()`` makes one. Thread-safe.

    As a context manager it closes its endpoints and detaches at the end. A forked child must connect anew: it raises
    UsageError for every call on what it has inherited.
    """

    __slots__ = ("__weakref__", "_broker", "_waiting")

    def __init__(self, broker: str = "", wait_for: float | None = 0.0) -> None:
        super().__init__(broker, wait_for)
        self._broker = broker or os.environ.get("IPCQ_BROKER", "")  # as it was then, for questions about its queues
        self._waiting: weakref.WeakSet[Waiting] = weakref.WeakSet()

    @overload
    def producer(self, queue: str, *, type: type[T], **options: Unpack[ProducerOptions]) -> TypedProducer[T]: ...
    @overload
    def producer(
        self, queue: str, *, cuda: Literal[True], device: int = 0, **options: Unpack[ProducerOptions]
    ) -> DeviceProducer: ...
    @overload
    def producer(self, queue: str, *, schema: str = "", **options: Unpack[ProducerOptions]) -> Producer: ...
    def producer(
        self,
        queue: str,
        *,
        wait: Wait = "hybrid",
        wait_for: float | None = 0.0,
        schema: str = "",
        cuda: bool = False,
        device: int = 0,
        type: type[Any] | None = None,  # noqa: A002
    ) -> Producer | TypedProducer[Any]:
        """Opens a producer of a queue.

        Args:
            queue: Its name.
            wait: ``spin`` burns a core for the lowest latency, ``sleep`` uses none while idle, ``hybrid`` spins for
                20 us and then sleeps.
            wait_for: Seconds to wait for the queue to appear; None: no limit.
            schema: Type of what it sends, as text, which must be the queue's; empty: any bytes.
            cuda: Its loans are in device memory, for the work of a stream (``DeviceProducer``).
            device: With ``cuda``, in a thread that has used no GPU yet: which one it is to use.
            type: A dataclass: what it sends are values of that (``TypedProducer``). See ``ipcq.fields``.

        Raises:
            NotFoundError: No such queue within ``wait_for``.
            UsageError: Another type, or as many endpoints as the queue may have.
            BackendError, PermissionError, LayoutError, SystemError: The text says what, and what helps.
        """
        if cuda:
            return DeviceProducer(self, queue, device=device, wait=wait, wait_for=wait_for, schema=schema)
        if type is None:
            return Producer(self, queue, wait=wait, wait_for=wait_for, schema=schema)
        return TypedProducer(Producer(self, queue, wait=wait, wait_for=wait_for, schema=schema_of(type).text), type)

    @overload
    def consumer(self, queue: str, *, type: type[T], **options: Unpack[ConsumerOptions]) -> TypedConsumer[T]: ...
    @overload
    def consumer(
        self, queue: str, *, cuda: Literal[True], device: int = 0, **options: Unpack[ConsumerOptions]
    ) -> DeviceConsumer: ...
    @overload
    def consumer(self, queue: str, *, schema: str = "", **options: Unpack[ConsumerOptions]) -> Consumer: ...
    def consumer(
        self,
        queue: str,
        *,
        group: str = "default",
        wait: Wait = "hybrid",
        wait_for: float | None = 0.0,
        until_end: bool = True,
        lossy: bool = False,
        schema: str = "",
        cuda: bool = False,
        device: int = 0,
        type: type[Any] | None = None,  # noqa: A002
    ) -> Consumer | TypedConsumer[Any]:
        """Opens a consumer of a queue. Each message goes to one consumer of each group.

        Args:
            queue: Its name.
            group: A declared group is durable. Any other name makes an ephemeral group, which gets the messages that
                are published from now on and ends with its last member.
            wait: As of ``producer()``.
            wait_for: Seconds to wait for the queue to appear; and, once a stream has ended, for the next one to begin.
            until_end: False: ``receive()`` waits for the next stream instead of raising EndOfStream.
            lossy: Makes the ephemeral group lossy: it loses the oldest messages and never holds up producers.
            schema: Type of what it receives, as text, which must be the queue's; empty: any bytes.
            cuda: Its messages are in device memory, for the work of a stream (``DeviceConsumer``).
            device: With ``cuda``, in a thread that has used no GPU yet: which one it is to use.
            type: A dataclass: what it receives are values of that (``TypedConsumer``). See ``ipcq.fields``.

        Raises:
            As ``producer()``.
        """
        options: dict[str, Any] = {
            "group": group,
            "wait": wait,
            "wait_for": wait_for,
            "until_end": until_end,
            "lossy": lossy,
            "schema": schema if type is None else schema_of(type).text,
        }
        if cuda:
            return DeviceConsumer(self, queue, device=device, **options)
        consumer = Consumer(self, queue, **options)
        return consumer if type is None else TypedConsumer(consumer, type)

    @overload
    def client(
        self, queue: str, *, type: type[Q], result_type: type[A], **options: Unpack[ClientOptions]
    ) -> TypedClient[Q, A]: ...
    @overload
    def client(
        self, queue: str, *, schema: str = "", result_schema: str = "", **options: Unpack[ClientOptions]
    ) -> Client: ...
    def client(
        self,
        queue: str,
        *,
        wait: Wait = "hybrid",
        wait_for: float | None = 0.0,
        reply_bytes: int = 0,
        needs_server: bool = False,
        schema: str = "",
        result_schema: str = "",
        type: type[Any] | None = None,  # noqa: A002
        result_type: type[Any] | None = None,
    ) -> Client | TypedClient[Any, Any]:
        """Opens a client of a queue of calls (``create(..., calls=N)``).

        Args:
            queue: Its name.
            wait: As of ``producer()``.
            wait_for: As of ``producer()``.
            reply_bytes: Longest reply that it expects: requests then have the room for it.
            needs_server: A call that no server has does not wait for one: it raises NoServer.
            schema: Type of requests, as text, which must be the queue's; empty: any bytes.
            result_schema: Type of replies.
            type: A dataclass: requests are values of that (``TypedClient``).
            result_type: With ``type``: of replies. ``reply_bytes`` counts what their text and lists take on top.

        Raises:
            As ``producer()``.
        """
        options: dict[str, Any] = {"wait": wait, "wait_for": wait_for, "needs_server": needs_server}
        if type is None or result_type is None:
            _check_both(type, result_type)
            schemas = {"schema": schema, "result_schema": result_schema}
            return Client(self, queue, reply_bytes=reply_bytes, **schemas, **options)
        schemas = {"schema": schema_of(type).text, "result_schema": schema_of(result_type).text}
        room = max(reply_bytes, schema_of(result_type).size)
        return TypedClient(Client(self, queue, reply_bytes=room, **schemas, **options), type, result_type)

    @overload
    def server(
        self, queue: str, *, type: type[Q], result_type: type[A], **options: Unpack[ServerOptions]
    ) -> TypedServer[Q, A]: ...
    @overload
    def server(
        self, queue: str, *, schema: str = "", result_schema: str = "", **options: Unpack[ServerOptions]
    ) -> Server: ...
    def server(
        self,
        queue: str,
        *,
        wait: Wait = "hybrid",
        wait_for: float | None = 0.0,
        schema: str = "",
        result_schema: str = "",
        type: type[Any] | None = None,  # noqa: A002
        result_type: type[Any] | None = None,
    ) -> Server | TypedServer[Any, Any]:
        """Opens a server of a queue of calls. Arguments and exceptions as of ``client()``."""
        if type is None or result_type is None:
            _check_both(type, result_type)
            return Server(self, queue, wait=wait, wait_for=wait_for, schema=schema, result_schema=result_schema)
        schemas = {"schema": schema_of(type).text, "result_schema": schema_of(result_type).text}
        return TypedServer(Server(self, queue, wait=wait, wait_for=wait_for, **schemas), type, result_type)

    def close(self) -> None:
        """Closes all of its endpoints (streams of producers end), and detaches from the broker. Idempotent.

        It stays attached while messages and loans are held. Ends the waits of other threads and tasks.
        """
        with quiet(self._waiting):
            super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """``close()``; where an exception leaves the block, producers are broken off: their streams do not end."""
        with quiet(self._waiting):
            super().__exit__(kind, value, traceback)

    def __repr__(self) -> str:
        return f"<ipcq.Session{', closed' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise no_pickle("session")


def _check_both(question: object, result: object) -> None:
    if (question is None) != (result is None):
        raise UsageError("type and result_type belong together: pass both, or neither")


def connect(broker: str = "", *, wait_for: float | None = 0.0) -> Session:
    """Connects to a broker.

    Args:
        broker: Its name, or the path of its control socket; empty: ``$IPCQ_BROKER``, else ``default``.
        wait_for: Seconds to wait for it to appear; None: no limit.

    Raises:
        NotFoundError: No broker within ``wait_for``.
        PermissionError, LayoutError (another release), SystemError: The text says what, and what helps.
    """
    return Session(broker, wait_for)

"""Consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core
from ._errors import EndOfStream, no_pickle
from ._readiness import quiet, receive_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Self

    from ._core import Message
    from ._readiness import Readiness
    from ._session import Session


class _Messages:
    """The messages of a consumer, for ``async for``."""

    __slots__ = ("_consumer", "_step")

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._step = _core.LoopStep()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        self._step.end()
        try:
            message = await self._consumer.receive_async()
        except EndOfStream:
            raise StopAsyncIteration from None
        self._step.begin(message)
        return message


class Consumer(_core.Consumer):
    """Receives from one queue as a member of a group. ``Session.consumer()`` opens one.

    ``for message in consumer`` and ``async for message in consumer`` go on until the end of the stream, and release
    each message when the next is asked for. Calls from several threads take turns.
    """

    __slots__ = ("__weakref__", "_group", "_readiness", "_session", "_spins")
    _readiness: Readiness[Message]

    def __init__(self, session: Session, queue: str, **options: Any) -> None:
        super().__init__(session, queue, **options)
        self._session = session
        self._group: str = options.get("group", "default")
        self._spins = options.get("wait") == "spin"

    async def receive_async(self, timeout: float | None = None) -> Message:
        """As ``receive()``, for tasks of an event loop: the loop waits for the consumer's descriptor.

        Of a consumer with ``wait="spin"`` it spins before that, for 50 us at most, in which the loop does nothing else.

        Args:
            timeout: Seconds; None: no limit.

        Raises:
            TimeoutError: Nothing came in time; and as ``receive()``.
        """
        return await receive_async(self, timeout)

    def __aiter__(self) -> AsyncIterator[Message]:
        return _Messages(self)

    def close(self) -> None:
        """Leaves the group, and gives back the messages still held. Ends the waits of other threads and tasks.

        Waits for the broker's answer, 10 s at most. Idempotent.
        """
        with quiet([self._readiness] if hasattr(self, "_readiness") else []):
            super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ipcq.Consumer of '{self.queue}'{', closed' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise no_pickle("consumer")

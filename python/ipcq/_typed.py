"""Producers and consumers of dataclasses: what they send and receive are values, and the queue knows their type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ._errors import EndOfStream, MalformedError, Status, StatusError
from ._raw import OverRaw
from ._schemas import schema_of, value_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from ._consumer import Consumer
    from ._core import Message
    from ._producer import Producer

T = TypeVar("T")


class TypedProducer(OverRaw["Producer"], Generic[T]):
    """Sends values of a dataclass. ``Session.producer(queue, type=T)`` opens one.

    C++ processes receive them as structs of the same fields (``IPCQ_SCHEMA``); another type is refused when an endpoint
    opens. ``raw`` is the producer below.
    """

    __slots__ = ("_schema",)

    def __init__(self, raw: Producer, of: type[T]) -> None:
        super().__init__(raw)
        self._schema = schema_of(of)

    def send(self, value: T, timeout: float | None = None) -> None:
        """Sends a value. Raises UsageError, which names a field that cannot be; else as ``Producer.send()``."""
        self.raw.send(self._schema.encode(value), timeout)

    def try_send(self, value: T) -> bool:
        """Sends if there is room now. False: there is none."""
        return self.raw.try_send(self._schema.encode(value))

    def send_many(self, values: Iterable[T], timeout: float | None = None) -> int:
        """Sends values in order, and returns how many. As ``Producer.send_many()``."""
        return self.raw.send_many([self._schema.encode(value) for value in values], timeout)

    async def send_async(self, value: T, timeout: float | None = None) -> None:
        """As ``Producer.send_async()``."""
        await self.raw.send_async(self._schema.encode(value), timeout)

    def break_off(self) -> None:
        """Closes without ending the stream."""
        self.raw.break_off()

    def __repr__(self) -> str:
        return f"<ipcq.TypedProducer of '{self.raw.queue}', {self._schema.text}>"


class TypedConsumer(OverRaw["Consumer"], Generic[T]):
    """Receives values of a dataclass. ``Session.consumer(queue, type=T)`` opens one.

    Values are copies, so no message stays held: it is released once its value was made, and goes back if making it
    raises anything but MalformedError. ``raw`` is the consumer below.
    """

    __slots__ = ("_schema",)

    def __init__(self, raw: Consumer, of: type[T]) -> None:
        super().__init__(raw)
        self._schema = schema_of(of)

    def receive(self, timeout: float | None = None) -> T:
        """The next value. Raises as ``Consumer.receive()``.

        Raises:
            MalformedError: The next message is no such value, and was released.
            StatusError: (failed) The queue's handler has refused it or failed on it, and it was released.
        """
        return self._value_of(self.raw.receive(timeout))

    def try_receive(self) -> T | None:
        """The next value if there is one now, else None. Raises as ``receive()``."""
        message = self.raw.try_receive()
        return None if message is None else self._value_of(message)

    def receive_many(self, limit: int = 64, timeout: float | None = None) -> list[T]:
        """Up to ``limit`` values that are there now; waits only for the first. Raises as ``receive()``.

        What stands behind a message that is no value is given back, for the next call.
        """
        values: list[T] = []
        messages = self.raw.receive_many(limit, timeout)
        for i, message in enumerate(messages):
            try:
                values.append(self._value_of(message))
            except StatusError:
                for other in messages[i + 1 :]:
                    other.nack()
                if not values:
                    raise
                break
        return values

    async def receive_async(self, timeout: float | None = None) -> T:
        """As ``receive()``, for tasks of an event loop."""
        return self._value_of(await self.raw.receive_async(timeout))

    def _value_of(self, message: Message) -> T:
        with message:
            if not message.processed:
                message.release()
                raise StatusError(f"queue '{self.raw.queue}': its handler has failed on the message", Status.FAILED)
            beside = message.metadata if self.raw.metadata_for_values >= self._schema.size else b""
            try:
                return value_in(self._schema, bytes(message), beside)
            except MalformedError as error:
                message.release()
                raise MalformedError(
                    f"queue '{self.raw.queue}': a message is no {self._schema.text}: {error}"
                ) from None

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                yield self.receive()
            except EndOfStream:
                return

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                yield await self.receive_async()
            except EndOfStream:
                return

    def __repr__(self) -> str:
        return f"<ipcq.TypedConsumer of '{self.raw.queue}', {self._schema.text}>"

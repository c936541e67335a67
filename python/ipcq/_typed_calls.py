"""Clients and servers whose requests and replies are dataclasses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._errors import MalformedError
from ._raw import OverRaw
from ._schemas import Schema, schema_of, value_in
from ._server import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

    from ._client import Call, Client
    from ._core import Request
    from ._server import Server

Q = TypeVar("Q")
A = TypeVar("A")

MALFORMED = 0xFFFFFFFF  # with which a typed server fails a request that is no value, in C++ too


class TypedCall(Generic[A]):
    """A call whose replies are values; ``raw`` is the call below. ``TypedClient.call()`` makes it."""

    __slots__ = ("_schema", "raw")

    def __init__(self, raw: Call, schema: Schema[A]) -> None:
        self.raw = raw
        """The call below, whose replies are bytes."""
        self._schema = schema

    def result(self, timeout: float | None = None) -> A:
        """The reply, or the next of several. As ``Call.receive()``; MalformedError: it is no such value."""
        return self._schema.decode(self.raw.receive(timeout))

    @property
    def has_more(self) -> bool:
        """Whether another reply follows the one received last."""
        return self.raw.has_more

    def cancel(self) -> None:
        """Ends the call. As ``Call.cancel()``."""
        self.raw.cancel()

    async def _receive(self) -> A:
        return self._schema.decode(await self.raw)

    def __await__(self) -> Generator[object, None, A]:
        return self._receive().__await__()

    def __iter__(self) -> Iterator[A]:
        for reply in self.raw:
            yield self._schema.decode(reply)

    async def __aiter__(self) -> AsyncIterator[A]:
        async for reply in self.raw:
            yield self._schema.decode(reply)


class TypedClient(OverRaw["Client"], Generic[Q, A]):
    """Asks with values, and is answered with values. ``Session.client(queue, type=Q, result_type=A)`` opens one."""

    __slots__ = ("_question", "_result")

    def __init__(self, raw: Client, question: type[Q], result: type[A]) -> None:
        super().__init__(raw)
        self._question, self._result = schema_of(question), schema_of(result)

    def call(self, question: Q, timeout: float | None = None) -> TypedCall[A]:
        """Sends a request, as ``Client.call()``. Raises UsageError, which names a field that cannot be."""
        return TypedCall(self.raw.call(self._question.encode(question), timeout), self._result)

    async def call_async(self, question: Q, timeout: float | None = None) -> A:
        """Sends a request and returns its reply, as ``Client.call_async()``."""
        return self._result.decode(await self.raw.call_async(self._question.encode(question), timeout))


class TypedServer(OverRaw["Server"], Generic[Q, A]):
    """Answers values with values. ``Session.server(queue, type=Q, result_type=A)`` opens one."""

    __slots__ = ("_question", "_result")

    def __init__(self, raw: Server, question: type[Q], result: type[A]) -> None:
        super().__init__(raw)
        self._question, self._result = schema_of(question), schema_of(result)

    def serve(self, function: Callable[[Q], A], *, reply_timeout: float | None = None) -> None:
        """Calls ``function(question)`` for each request, as ``Server.serve()``; what it returns is the reply.

        A request that is no such value fails with the code ``MALFORMED``, and the function never sees it.
        """
        self.raw.serve(
            lambda request: self._result.encode(function(self._value_of(request))), reply_timeout=reply_timeout
        )

    async def serve_async(
        self, function: Callable[[Q], Awaitable[A]], *, concurrency: int = 64, reply_timeout: float | None = None
    ) -> None:
        """The same for a coroutine function, as ``Server.serve_async()``."""

        async def answer(request: Request) -> Any:
            return self._result.encode(await function(self._value_of(request)))

        await self.raw.serve_async(answer, concurrency=concurrency, reply_timeout=reply_timeout)

    def _value_of(self, request: Request) -> Q:
        try:
            return value_in(self._question, bytes(request), request.metadata)
        except MalformedError as error:
            raise Failure(MALFORMED, f"the request is no {self._question.text}: {error}") from None

"""The side of calls that answers."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import operator
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from . import _core
from ._errors import ClosedError, Full, PeerDeadError, TimeoutError, no_pickle
from ._readiness import quiet, receive_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Buffer, Self

    from ._buffer_like import BufferLike
    from ._core import Request
    from ._readiness import Readiness
    from ._session import Session

_log = logging.getLogger("ipcq")


class Failure(Exception):
    """What a server's function raises to fail a call with a code of its own.

    Args:
        code: A number that the caller knows, from 0 to 2^32 - 1: ``CallFailed.code`` there.
        text: Words for people: ``CallFailed.text`` there.

    Attributes:
        code: As given.
        text: As given.

    Raises:
        ValueError: The code is none.
        UnicodeEncodeError: The text has no UTF-8.
    """

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(f"{text} (code {code})")
        if not 0 <= operator.index(code) < 2**32:
            raise ValueError(f"a failure's code is from 0 to 2^32 - 1, and not {code}")
        text.encode()  # raises where it cannot be sent
        self.code = code
        self.text = text


_FAILED_BY_EXCEPTION = 1


class Server(_core.Server):
    """Answers the requests of one queue. ``Session.server()`` opens one.

    ``for request in server`` and ``async for request in server`` go on until the server, its queue or the broker is
    closed; ``serve()`` and ``serve_async()`` call a function for each. Calls from several threads take turns.
    """

    __slots__ = ("__weakref__", "_readiness", "_session", "_spins")
    _readiness: Readiness[Request]

    def __init__(self, session: Session, queue: str, **options: Any) -> None:
        super().__init__(session, queue, **options)
        self._session = session
        self._spins = options.get("wait") == "spin"

    async def receive_async(self, timeout: float | None = None) -> Request:
        """As ``receive()``, for tasks of an event loop: the loop waits for the server's descriptor.

        Args:
            timeout: Seconds; None: no limit; 0: not at all.

        Raises:
            TimeoutError: Nothing came in time; and as ``receive()``.
        """
        return await receive_async(self, timeout)

    def serve(self, function: Callable[[Request], object], *, reply_timeout: float | None = None) -> None:
        """Calls ``function(request)`` for each request, until the server, its queue or the broker is closed.

        What it returns is the reply: a buffer; None: an empty one; a generator of buffers: several. It may answer the
        request itself. If it raises ``Failure`` the call fails with that code, and by any other exception with code 1
        and the exception's text, and the exception goes to the log.

        Args:
            function: Of one request.
            reply_timeout: Seconds that one of several replies may wait for its caller to read the one before; then the
                call fails. None: no limit.

        Raises:
            PeerDeadError: The broker has died.
            InterruptedError: ``Session.interrupt()`` was called.
        """
        for request in self:
            _answer(request, function, reply_timeout)

    async def serve_async(
        self,
        function: Callable[[Request], Awaitable[object]],
        *,
        concurrency: int = 64,
        reply_timeout: float | None = None,
    ) -> None:
        """The same for a coroutine function, of which up to ``concurrency`` calls run at once."""
        limit = asyncio.Semaphore(concurrency)
        tasks: set[asyncio.Task[None]] = set()

        async def work(request: Request) -> None:
            try:
                await _answer_async(request, function, reply_timeout)
            finally:
                limit.release()

        try:
            while True:
                await limit.acquire()
                try:
                    request = await self._receive_unless_full(tasks)
                except PeerDeadError:
                    raise
                except ClosedError:
                    return
                task = asyncio.ensure_future(work(request))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive_unless_full(self, tasks: set[asyncio.Task[None]]) -> Request:
        while True:
            try:
                return await self.receive_async()
            except Full:  # as many as the queue's `held` lets a server have
                if not tasks:
                    raise
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    def __iter__(self) -> Iterator[Request]:
        while True:
            try:
                yield self.receive()
            except PeerDeadError:  # no end that anybody has asked for
                raise
            except ClosedError:
                return

    async def __aiter__(self) -> AsyncIterator[Request]:
        while True:
            try:
                yield await self.receive_async()
            except PeerDeadError:  # no end that anybody has asked for
                raise
            except ClosedError:
                return

    def close(self) -> None:
        """Ends the waits of other threads and tasks; unanswered requests go as ``on_server_death`` says. Idempotent.

        Waits for the broker's answer, 10 s at most.
        """
        with quiet([self._readiness] if hasattr(self, "_readiness") else []):
            super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ipcq.Server of '{self.queue}'{', closed' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise no_pickle("server")


def _is_several(result: object) -> bool:
    return inspect.isgenerator(result) or (isinstance(result, Iterable) and not _shows_bytes(result))


def _shows_bytes(result: object) -> bool:
    try:
        memoryview(cast("Buffer", result))
    except TypeError:
        return False
    return True


def _payload_of(result: object) -> bytes | Iterable[BufferLike]:
    """What is to be sent: a copy, which is no view of the request, or several."""
    if result is None:
        return b""
    return cast("Iterable[BufferLike]", result) if _is_several(result) else bytes(memoryview(cast("Buffer", result)))


def _send(request: Request, payload: bytes | Iterable[BufferLike], timeout: float | None) -> None:
    if not request.open:
        return
    if isinstance(payload, bytes):
        request.reply(payload, timeout)
        return
    for part in payload:
        if not request.stream(part, timeout):
            return
    request.end()


def fail_request(
    request: Request, error: Exception, what: str = "a request of a server failed", wait: float | None = 0.0
) -> None:
    """Tells the caller, and the log; nothing that a function raises ends the server.

    ``wait``: seconds for the caller to read the reply before, of several; else it is told ServerDied behind that.
    """
    code, text = _FAILED_BY_EXCEPTION, ""
    if isinstance(error, Failure):
        code, text = error.code, error.text
    else:
        _log.error("%s", what, exc_info=error)
        with contextlib.suppress(Exception):
            text = repr(error)
    traceback.clear_frames(error.__traceback__)  # their views of the request
    try:
        if wait != 0.0:
            with contextlib.suppress(TimeoutError):
                request.fail(code, text, wait)
        request._fail_after_views(code, text)  # noqa: SLF001
    except Exception:  # noqa: BLE001 - as above
        _log.warning("a request's failure could not be told to its caller", exc_info=True)


def _answer(request: Request, function: Callable[[Request], object], timeout: float | None) -> None:
    try:
        payload = _payload_of(function(request))
        _send(request, payload, timeout)
    except Exception as error:  # noqa: BLE001 - it is the caller's
        fail_request(request, error)


async def _answer_async(
    request: Request, function: Callable[[Request], Awaitable[object]], timeout: float | None
) -> None:
    try:
        payload = _payload_of(await function(request))
        if isinstance(payload, bytes):
            _send(request, payload, timeout)
        else:  # a thread waits for the caller
            await asyncio.get_running_loop().run_in_executor(None, _send, request, payload, timeout)
    except Exception as error:  # noqa: BLE001 - it is the caller's
        fail_request(request, error)

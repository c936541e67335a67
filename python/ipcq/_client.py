"""The side of calls that asks."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _core
from ._errors import EndOfStream, NotFoundError, no_pickle
from ._readiness import quiet
from ._replies import Replies
from ._waits import running_loop, with_room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Self

    from ._buffer_like import BufferLike
    from ._core import Loan
    from ._session import Session


class Call(_core.Call):
    """One call that is under way; ``Client.call()`` makes it.

    ``call.result()`` waits for the reply, and so does ``await call``, in an event loop. Where the server sends several,
    ``for reply in call`` and ``async for reply in call`` yield them. A call that Python drops is cancelled.
    """

    __slots__ = ("__weakref__", "_client", "_expires", "_kept", "_more")

    def __init__(
        self,
        client: Client,
        request: BufferLike | Loan,
        timeout: float | None = None,
        length: int | None = None,
        waits: bool = True,
    ) -> None:
        super().__init__(client, request, timeout, length, waits)
        self._client = client
        self._expires = None if timeout is None else time.monotonic() + timeout
        self._kept: tuple[bytes, bool] | None = None  # a reply that an event loop has read before it was asked for
        self._more: bool | None = None  # of the reply before that one

    def receive(self, timeout: float | None = None) -> bytes:
        """A copy of the call's next reply, usually its only one; ``has_more`` says whether another follows.

        Args:
            timeout: Seconds; None: as long as the call's own time-out lets it.

        Raises:
            TimeoutError: It goes on.
            CallFailed, ServerDied, NoServer, Expired, Cancelled: It has ended so.
            EndOfStream: There is no further reply.
            InterruptedError, ClosedError, PeerDeadError, BufferError (views of the reply before are alive).
        """
        if self._kept is not None:
            return self._take_kept()
        self._more = None
        return super().receive(timeout)

    def try_receive(self) -> bytes | None:
        """The next reply if it is there now, else None. Raises as ``receive()``."""
        return self._receive_within(0)

    def _receive_within(self, timeout: float) -> bytes | None:
        if self._kept is not None:
            return self._take_kept()
        found = super()._receive_within(timeout)
        if found is not None:
            self._more = None
        return found

    @property
    def has_more(self) -> bool:
        """Whether another reply follows the one received last."""
        return super().has_more if self._more is None else self._more

    def _take_kept(self) -> bytes:
        assert self._kept is not None
        reply, self._more = self._kept
        self._kept = None
        return reply

    def _put_back(self, reply: bytes) -> None:
        self._kept = (reply, self.has_more)

    def _keep(self) -> bool:
        """Reads the next reply before it is asked for, so that the client has no news of it. False: there is one."""
        if self._kept is not None or self.ended:
            return False
        more = self.has_more
        found = super().try_receive()
        if found is not None:
            self._kept = (found, super().has_more)
            self._more = more
        return True

    def result(self, timeout: float | None = None) -> bytes:
        """The reply, or the next of several. As ``receive()``, whose name it has in ``concurrent.futures``."""
        return self.receive(timeout)

    def done(self) -> bool:
        """Whether the call is over."""
        return self.ended

    def __await__(self) -> Generator[object, None, bytes]:
        return self._client._receive(self).__await__()  # noqa: SLF001

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                yield self.receive()
            except EndOfStream:
                return
            if not self.has_more:
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                yield await self
            except EndOfStream:
                return
            if not self.has_more:
                return

    def __repr__(self) -> str:
        if not hasattr(self, "_client"):  # it could not be sent, and a traceback shows it
            return "<ipcq.Call that was not sent>"
        return f"<ipcq.Call {self.id} of '{self._client.queue}'{', over' if self.ended else ''}>"


class Client(_core.Client):
    """Calls the servers of one queue. ``Session.client()`` opens one. Calls from several threads take turns."""

    __slots__ = ("__weakref__", "_calls", "_replies", "_session", "_spins")
    _replies: Replies

    def __init__(self, session: Session, queue: str, **options: Any) -> None:
        super().__init__(session, queue, **options)
        self._session = session
        self._spins = options.get("wait") == "spin"

    def call(self, request: BufferLike | Loan, timeout: float | None = None, *, length: int | None = None) -> Call:
        """Sends a request: a buffer, or a loan of this client (of which ``length`` bytes go).

        ``client.call(b"...").result()`` waits for the reply; in an event loop, ``await client.call(b"...")``.

        Args:
            request: What to send.
            timeout: Seconds for all of it: the wait for room, the server's work and the wait for its last reply; None:
                no limit.
            length: Of a loan.

        Raises:
            Full: As many calls as the queue's `calls` are under way; or, in an event loop, which it must not hold up,
                there is no room now (``call_async()`` waits for it).
            TimeoutError: It was not sent in time.
            NoServer, StatusError (too_large), ClosedError, PeerDeadError, InterruptedError.
        """
        return self._call(request, timeout, length, not running_loop())

    def _call(self, request: BufferLike | Loan, timeout: float | None, length: int | None, waits: bool) -> Call:
        call = Call(self, request, timeout, length, waits)
        self._calls_by_id()[call.id] = call
        return call

    async def call_async(self, request: BufferLike | Loan, timeout: float | None = None) -> bytes:
        """Sends a request and returns its reply; where there is no room now, it waits for that, too, in turn."""
        return await (await with_room(lambda left: self.call(request, left), timeout, self.queue, "call"))

    def find(self, call_id: int) -> Call:
        """The call of that id, while the program has it. Raises NotFoundError."""
        call = self._calls_by_id().get(call_id)
        if call is None:
            raise NotFoundError(f"queue '{self.queue}': this client has no call {call_id} any more")
        return call

    def completed(self, timeout: float | None = None) -> Call | None:
        """A call that has news: its reply, or why there is none. None: nothing within the time, or nothing under way.

        Each is returned once for each reply, in turn, so that a program polls many calls by one look.
        """
        try:
            while (which := self.wait_any(timeout)) is not None:
                call = self._calls_by_id().get(which)
                if call is not None:
                    return call
        except TimeoutError:
            pass
        return None

    def close(self) -> None:
        """Cancels what is under way. Waits for the broker's answer, 10 s at most. Idempotent."""
        with quiet([self._replies] if hasattr(self, "_replies") else []):
            super().close()

    def _calls_by_id(self) -> weakref.WeakValueDictionary[int, Call]:
        try:
            return self._calls
        except AttributeError:
            self._calls: weakref.WeakValueDictionary[int, Call] = weakref.WeakValueDictionary()
            return self._calls

    async def _receive(self, call: Call) -> bytes:
        try:
            replies = self._replies
        except AttributeError:
            replies = self._replies = Replies(self)
            self._session._waiting.add(replies)  # noqa: SLF001
        return await replies.receive(call, call._expires)  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ipcq.Client of '{self.queue}'{', closed' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise no_pickle("client")

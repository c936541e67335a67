"""Waiting in an asyncio loop: the endpoint's descriptor in the loop, no thread and no polling."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ._errors import Error, TimeoutError, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._session import Session

T = TypeVar("T")

SPIN = 50e-6  # seconds; a peer that spins, too, answers in a tenth of that


def in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    """Calls a function that touches a loop: in its thread, for which this one waits a second at most."""
    if loop.is_closed():
        return
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = not loop.is_running()
    if here:
        function()
        return
    done = threading.Event()

    def call() -> None:
        try:
            function()
        finally:
            done.set()

    with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
        loop.call_soon_threadsafe(call)
        done.wait(1.0)


class Waiting(Protocol):
    """Tasks that wait for an endpoint."""

    def stop(self) -> None:
        """Before it closes."""

    def settle(self) -> None:
        """After it has closed."""


@contextlib.contextmanager
def quiet(waiting: Iterable[Waiting]) -> Iterator[None]:
    """Around the closing of endpoints: their descriptors leave the loops before, and those who wait are told after."""
    all_waiting = list(waiting)
    for one in all_waiting:
        one.stop()
    try:
        yield
    finally:
        for one in all_waiting:
            one.settle()


def settle(future: asyncio.Future[T], attempt: Callable[[], T | None]) -> bool:
    """Gives the call's outcome to one who waits; False: there is nothing."""
    if future.done():
        return True
    try:
        found = attempt()
    except Exception as error:  # noqa: BLE001 - it is the waiting task's
        future.set_exception(error)
        return True
    if found is None:
        return False
    future.set_result(found)
    return True


class Readiness(Generic[T]):
    """Lets tasks of one loop wait for what an endpoint's call returns.

    The descriptor is level-triggered, and quiet once a call has found nothing. It leaves the loop when it wakes it and
    no task waits, so that a loop whose tasks work on other things is woken once for it.

    Args:
        attempt: The call; it returns None where it would have to wait.
        fileno: Of the descriptor.
        spin: The same call, which waits some microseconds for it, the loop with it; None: it is not to.
    """

    __slots__ = ("__weakref__", "_attempt", "_fileno", "_loop", "_spin", "_waiting")

    def __init__(
        self, attempt: Callable[[], T | None], fileno: Callable[[], int], spin: Callable[[], T | None] | None = None
    ) -> None:
        self._attempt = attempt
        self._spin = spin or attempt
        self._fileno = fileno
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[asyncio.Future[T]] = deque()

    async def wait(self, timeout: float | None) -> T:
        """What the call returns, once it is something; tasks are served in the order in which they came.

        Raises:
            asyncio.TimeoutError: After ``timeout`` seconds. What the call raises.
        """
        if not self._waiting and (found := self._spin()) is not None:
            return found
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._waiting:
                raise RuntimeError("tasks of two event loops wait for one endpoint: open one for each")
            self.stop()
            loop.add_reader(self._fileno(), self._serve)
            self._loop = loop
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(future)
        timer = None if timeout is None else loop.call_later(timeout, self._expire, future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._undo(future.result())
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._leave(future)

    def stop(self) -> None:
        """The descriptor leaves the loop: no task waits, or the endpoint is about to close and ``settle()`` follows."""
        loop, self._loop = self._loop, None
        if loop is not None:
            in_loop(loop, lambda: loop.remove_reader(self._fileno()))

    def settle(self) -> None:
        """After it: those who wait are told by the call, which raises now."""
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            in_loop(future.get_loop(), functools.partial(settle, future, self._attempt))

    def _serve(self) -> None:
        if not self._waiting:
            self.stop()
        while self._waiting and settle(self._waiting[0], self._attempt):
            self._waiting.popleft()

    def _expire(self, future: asyncio.Future[T]) -> None:
        if not settle(future, self._attempt):
            future.set_exception(asyncio.TimeoutError())

    def _leave(self, future: asyncio.Future[T]) -> None:
        if future in self._waiting:
            self._waiting.remove(future)

    def _undo(self, found: T) -> None:
        """Of a task that was cancelled when it had what it waited for: a message goes back."""
        nack = getattr(found, "nack", None)
        if nack is not None:
            with contextlib.suppress(Error):  # the endpoint may have closed meanwhile, by which it went back
                nack()


class Receiver(Protocol[T]):
    """What a consumer and a server have in common (a class of the extension module has one base, so none is shared)."""

    _session: Session
    _spins: bool
    _readiness: Readiness[T]  # once a task has waited

    @property
    def queue(self) -> str: ...
    def receive(self, timeout: float | None = None) -> T: ...
    def try_receive(self) -> T | None: ...
    def _receive_within(self, timeout: float) -> T | None: ...
    def fileno(self) -> int: ...


async def receive_async(receiver: Receiver[T], timeout: float | None) -> T:
    """``Consumer.receive_async()`` and ``Server.receive_async()``."""
    if timeout is not None and timeout <= 0:
        return receiver.receive(0)
    try:
        return await _readiness_of(receiver).wait(timeout)
    except asyncio.TimeoutError as error:
        if isinstance(error, TimeoutError):
            raise
        raise timed_out(receiver.queue, "receive_async", timeout) from None


def _readiness_of(receiver: Receiver[T]) -> Readiness[T]:
    try:
        return receiver._readiness  # noqa: SLF001
    except AttributeError:
        spin = functools.partial(receiver._receive_within, SPIN) if receiver._spins else None  # noqa: SLF001
        made = receiver._readiness = Readiness(receiver.try_receive, receiver.fileno, spin)  # noqa: SLF001
        receiver._session._waiting.add(made)  # noqa: SLF001
        return made

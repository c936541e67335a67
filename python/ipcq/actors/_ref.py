"""References to actors: a name, by which any process asks."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, TypeVar

from .._errors import ClosedError, EndOfStream, Full, NoServer, PeerDeadError, StatusError, UsageError, timed_out
from . import _tells
from ._links import Address, Link, drop, drop_session, link, running_loop
from ._spec import spec_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from .._client import Call

T = TypeVar("T")

_GONE = (ClosedError, NoServer)  # its queue was removed, and perhaps created anew under its name

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02  # seconds between two looks for room, in an event loop


class ActorRef:
    """Sends messages to an actor, by name. ``ActorRuntime.launch()`` and ``actor_ref()`` make one.

    It is a name: it can be pickled, copied and compared, and opens what it needs where it is used: one client for each
    thread. Messages of one thread come in order. Where an actor was terminated and launched again under its name, a
    reference goes on with the new one.

    Attributes:
        name: Of the actor.
        broker: Name of its broker, or the path of that broker's control socket.
    """

    __slots__ = ("_to",)

    def __init__(self, name: str, broker: str, input: Any = None, output: Any = None) -> None:  # noqa: A002
        self._to = Address(broker, name, input, output)

    @property
    def name(self) -> str:
        """Of the actor."""
        return self._to.name

    @property
    def broker(self) -> str:
        """Where it is."""
        return self._to.broker

    def ask(self, message: Any, timeout: float | None = None) -> Any:
        """Sends a message and waits for its reply; the first one, where there are several.

        Args:
            message: A value of the actor's input type; bytes where it has none.
            timeout: Seconds for all of it: the wait for room, for the actor, and its work. None: no limit.

        Raises:
            CallFailed: The actor's handler has raised (``code`` 1, and its text), or the actor has failed or was
                terminated (``FailureCode``).
            ServerDied: Its worker died meanwhile.
            NoServer: Its runtime has died.
            NotFoundError: There is no such actor, or broker.
            Expired, TimeoutError: The time is over; a worker that has the message may still work on it.
            Full: More calls of this thread are under way than the actor's queue lets it.
            UsageError: The message is no value of the type; or this is an event loop, which ``ask_async()`` is for.
            EndOfStream: It answered by several replies, and there is none.
        """
        if running_loop():
            raise UsageError(
                f"actor '{self.name}': ask() would hold up the event loop of this thread: await ask_async()"
            )
        call, to = self._call(message, timeout, True)
        return to.output.decode(self._reply(call.receive), message)

    async def ask_async(self, message: Any, timeout: float | None = None) -> Any:
        """As ``ask()``, for tasks of an event loop. It waits for room, too, and raises Full never."""
        call, to = await self._call_async(message, timeout)
        try:
            return to.output.decode(await call, message)
        except _GONE as error:
            self._drop(error)
            raise

    def stream(self, message: Any, timeout: float | None = None) -> Iterator[Any]:
        """Sends a message, and yields the replies of a generator; leaving the loop cancels it. Raises as ``ask()``."""
        if running_loop():
            raise UsageError(
                f"actor '{self.name}': stream() would hold up the event loop: async for over stream_async()"
            )
        call, to = self._call(message, timeout, True)
        try:
            while True:
                try:
                    yield to.output.decode(self._reply(call.receive), message)
                except EndOfStream:
                    return
                if not call.has_more:
                    return
        finally:
            call.cancel()

    async def stream_async(self, message: Any, timeout: float | None = None) -> AsyncIterator[Any]:
        """As ``stream()``, for tasks of an event loop."""
        call, to = await self._call_async(message, timeout)
        try:
            async for reply in call:
                yield to.output.decode(reply, message)
        finally:
            call.cancel()

    def tell(self, message: Any, timeout: float | None = None) -> None:
        """Sends a message whose reply nobody wants.

        It is worked on while this process lives: ``flush()`` waits for that, and the interpreter's end does for 5 s.
        Messages that fail are logged, and counted by ``flush()``.

        Args:
            message: As of ``ask()``.
            timeout: Seconds to wait for room in the actor's queue; None: no limit.

        Raises:
            TimeoutError: No room. Full: likewise, in an event loop, which ``tell_async()`` is for. As ``ask()``.
        """
        for last in (False, True):
            teller = _tells.teller(self._to)
            try:
                teller.tell(message, timeout)
            except _GONE as error:
                _tells.retire(teller)
                self._drop(error)
                if last:
                    raise
            else:
                return

    async def tell_async(self, message: Any, timeout: float | None = None) -> None:
        """As ``tell()``, for tasks of an event loop: it waits for room, and raises Full never."""
        await self._with_room(lambda _: self.tell(message), timeout)

    def flush(self, timeout: float | None = None) -> int:
        """Waits until the actor is done with what this process has told it.

        Returns:
            How many of these messages have failed since the last ``flush()``.

        Raises:
            TimeoutError: Some are not done; they go on.
        """
        teller = _tells.known(self._to)
        return 0 if teller is None else teller.flush(timeout)

    def _call(self, message: Any, timeout: float | None, waits: bool) -> tuple[Call, Link]:
        for last in (False, True):
            to = link(self._to)
            try:
                return to.input.send(to.client, message, timeout, waits), to
            except _GONE as error:  # nothing was sent
                self._drop(error)
                if last:
                    raise
        raise AssertionError("a loop of two has ended")

    async def _call_async(self, message: Any, timeout: float | None) -> tuple[Call, Link]:
        return await self._with_room(lambda left: self._call(message, left, False), timeout)

    async def _with_room(self, send: Callable[[float | None], T], timeout: float | None) -> T:
        expires = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            left = None if expires is None else expires - time.monotonic()
            if left is not None and left <= 0:
                raise timed_out(self.name, "call", timeout)
            try:
                return send(left)
            except Full:
                # Another caller, or a worker, makes room: nobody tells.
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _reply(self, receive: Callable[[], bytes]) -> bytes:
        try:
            return receive()
        except _GONE as error:
            self._drop(error)
            raise

    def _drop(self, error: StatusError) -> None:
        drop(self._to)
        if isinstance(error, PeerDeadError):
            drop_session(self.broker)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and self._to == other._to

    def __hash__(self) -> int:
        return hash(self._to)

    def __reduce__(self) -> tuple[type[ActorRef], tuple[str, str, Any, Any]]:
        return (type(self), (self.name, self.broker, self._to.input, self._to.output))

    def __repr__(self) -> str:
        kinds = " -> ".join(getattr(of, "__name__", "bytes") for of in (self._to.input, self._to.output))
        return f"<ipcq.ActorRef '{self.name}' at '{self.broker}', {kinds}>"


def actor_ref(
    name: str,
    actor: Any = None,
    *,
    input: Any = None,  # noqa: A002
    output: Any = None,
    broker: str = "",
) -> ActorRef:
    """A reference to an actor that runs somewhere; nothing is looked for before it is used.

    Args:
        name: Of the actor.
        actor: Its class or function, which knows its types.
        input: Instead of that: the type of its messages. None: bytes, and arrays where the actor takes these.
        output: Likewise of its replies.
        broker: Name, or path of the control socket; empty: ``$IPCQ_BROKER``, else ``default``. In a worker process that
            is its runtime's.
    """
    if actor is not None:
        spec = spec_of(actor)
        input, output = spec.input, spec.output
    return ActorRef(name, broker or os.environ.get("IPCQ_BROKER") or "default", input, output)

"""References to actors: a name, by which any process asks."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from .._errors import ClosedError, Error, NoServer, StatusError, UsageError
from .._waits import remaining, running_loop, with_room
from . import _tells
from ._links import Address, Link, close_retired, drop, link, queue_of
from ._spec import spec_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .._client import Call

_GONE = (ClosedError, NoServer)  # its queue was removed, and perhaps created anew under its name


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
            Expired: There was no reply in time; a worker that has the message may still work on it.
            TimeoutError: There was no room in time, and the message was not sent.
            Full: More calls of this thread are under way than the actor's queue lets it.
            ClosedError: The actor is being terminated.
            UsageError: The message is no value of the type, or longer than the actor takes; or this is an event loop,
                which ``ask_async()`` is for.
            EndOfStream: It answered by several replies, and there is none.
        """
        if running_loop():
            raise UsageError(
                f"actor '{self.name}': ask() would hold up the event loop of this thread: await ask_async()"
            )
        call, to = self._call(message, timeout, True)
        try:
            return to.output.decode(call.receive(), message)
        except _GONE as error:
            raise self._lost(to, error) from None
        finally:
            _end(call, to)

    async def ask_async(self, message: Any, timeout: float | None = None) -> Any:
        """As ``ask()``, for tasks of an event loop. It waits for room, too, and raises Full never."""
        call, to = await self._call_async(message, timeout)
        try:
            return to.output.decode(await call, message)
        except _GONE as error:
            raise self._lost(to, error) from None
        finally:
            _end(call, to)

    def stream(self, message: Any, timeout: float | None = None) -> Iterator[Any]:
        """Sends a message, and yields the replies of a generator; leaving the loop cancels it. Raises as ``ask()``."""
        if running_loop():
            raise UsageError(
                f"actor '{self.name}': stream() would hold up the event loop: async for over stream_async()"
            )
        call, to = self._call(message, timeout, True)
        try:
            for reply in call:
                yield to.output.decode(reply, message)
        except _GONE as error:
            raise self._lost(to, error) from None
        finally:
            call.cancel()
            _end(call, to)

    async def stream_async(self, message: Any, timeout: float | None = None) -> AsyncIterator[Any]:
        """As ``stream()``, for tasks of an event loop."""
        call, to = await self._call_async(message, timeout)
        try:
            async for reply in call:
                yield to.output.decode(reply, message)
        except _GONE as error:
            raise self._lost(to, error) from None
        finally:
            call.cancel()
            _end(call, to)

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
        expires = None if timeout is None else time.monotonic() + timeout
        failed_before = False
        with _tells.told(self._to) as told:
            while True:
                teller = told.teller()
                try:
                    if teller.tell(message, timeout):
                        return
                except _GONE as error:  # nothing was sent
                    teller.retire()
                    drop(teller.link, error)
                    if failed_before:
                        raise self._why(error) from None
                    failed_before = True
                timeout = remaining(expires)

    async def tell_async(self, message: Any, timeout: float | None = None) -> None:
        """As ``tell()``, for tasks of an event loop: it waits for room, and raises Full never."""
        await with_room(lambda _: self.tell(message), timeout, self.name, "call")

    def flush(self, timeout: float | None = None) -> int:
        """Waits until the actor is done with what this process has told it.

        Returns:
            How many of these messages have failed since the last ``flush()``.

        Raises:
            TimeoutError: Some are not done; they go on.
        """
        return _tells.flush(self._to, timeout)

    def _call(self, message: Any, timeout: float | None, waits: bool) -> tuple[Call, Link]:
        expires = None if timeout is None else time.monotonic() + timeout
        for last in (False, True):
            to = link(self._to)
            try:
                return to.send(message, timeout, waits), to
            except _GONE as error:  # nothing was sent
                drop(to, error)
                if last:
                    raise self._why(error) from None
                timeout = remaining(expires)
        raise AssertionError("a loop of two has ended")

    async def _call_async(self, message: Any, timeout: float | None) -> tuple[Call, Link]:
        return await with_room(lambda left: self._call(message, left, False), timeout, self.name, "call")

    def _lost(self, to: Link, error: StatusError) -> StatusError:
        """Lets the client go that has raised an error, and says what its caller is to be told."""
        drop(to, error)
        return self._why(error)

    def _why(self, error: StatusError) -> StatusError:
        """What a caller is to be told whose client has raised an error."""
        if not isinstance(error, NoServer):
            return error
        # The runtime has died, or has just ended the actor, and perhaps launched it anew.
        try:
            if not any(one.role == "server" for one in queue_of(self._to).endpoints):
                return error
        except ClosedError as closing:
            return closing
        except Error:
            pass
        return ClosedError(f"actor '{self.name}' was terminated")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and self._to == other._to

    def __hash__(self) -> int:
        return hash(self._to)

    def __reduce__(self) -> tuple[type[ActorRef], tuple[str, str, Any, Any]]:
        return (type(self), (self.name, self.broker, self._to.input, self._to.output))

    def __repr__(self) -> str:
        kinds = " -> ".join(getattr(of, "__name__", "bytes") for of in (self._to.input, self._to.output))
        return f"<ipcq.ActorRef '{self.name}' at '{self.broker}', {kinds}>"


def _end(call: Call, to: Link) -> None:
    """A call is over, or given up: the last one of a client that has gone closes it."""
    if to.retired:
        with contextlib.suppress(Error):
            call.cancel()
        close_retired()


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

"""Waiting for replies in an asyncio loop: the client's descriptor in the loop, no thread and no polling."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import TYPE_CHECKING

from ._errors import Error, StatusError
from ._readiness import SPIN, in_loop, settle

if TYPE_CHECKING:
    from ._client import Call, Client


class Replies:
    """Lets tasks of one loop wait for calls of one client, by the client's descriptor."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[int, tuple[Call, asyncio.Future[bytes]]] = {}

    async def receive(self, call: Call, expires: float | None) -> bytes:
        """The call's next reply; ``expires``: when its own time ends, of time.monotonic(). Raises as Call.receive()."""
        found = call._receive_within(SPIN) if self._client._spins and not self._waiting else call.try_receive()  # noqa: SLF001
        if found is not None:
            return found
        loop = asyncio.get_running_loop()
        if call.id in self._waiting:
            raise RuntimeError("two tasks wait for one call")
        if self._loop is not loop:
            if self._waiting:
                raise RuntimeError("tasks of two event loops wait for calls of one client: open one for each")
            self.stop()
            loop.add_reader(self._client.fileno(), self._serve)
            self._loop = loop
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting[call.id] = (call, future)
        timer = (
            None if expires is None else loop.call_later(max(0.0, expires - time.monotonic()), self._expire, call.id)
        )
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                call._put_back(future.result())  # noqa: SLF001 - it came, and this task did not get it
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.pop(call.id, None)

    def stop(self) -> None:
        """The descriptor leaves the loop: no task waits, or the client is about to close and ``settle()`` follows."""
        loop, self._loop = self._loop, None
        if loop is not None:
            in_loop(loop, lambda: loop.remove_reader(self._client.fileno()))

    def settle(self) -> None:
        """After it: those who wait are told by their calls, which raise now."""
        waiting, self._waiting = self._waiting, {}
        for call, future in waiting.values():
            in_loop(future.get_loop(), functools.partial(settle, future, call.try_receive))

    def _serve(self) -> None:
        if not self._waiting:
            self.stop()
            return
        try:
            while (which := self._client.wait_any(0)) is not None:
                if which in self._waiting:
                    call, future = self._waiting[which]
                    if settle(future, call.try_receive):
                        self._waiting.pop(which)
                    if call.has_more:
                        break  # its task comes first: the next look lets its server go on
                elif not self._keep(which):
                    self._pause()
                    return
        except Error as error:
            for _, future in self._waiting.values():
                if not future.done():
                    future.set_exception(error)
            self._waiting.clear()

    def _keep(self, which: int) -> bool:
        """Of a call that no task waits for now: its news would wake the loop over and over."""
        call = self._client._calls_by_id().get(which)  # noqa: SLF001
        try:
            return call is not None and call._keep()  # noqa: SLF001
        except StatusError:
            return True  # the call says so again

    def _pause(self) -> None:
        """A stream that its task leaves alone has news all the time: others look now and then."""
        if self._loop is not None:
            loop = self._loop
            loop.remove_reader(self._client.fileno())
            loop.call_later(0.001, self._go_on, loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is loop and self._waiting:
            loop.add_reader(self._client.fileno(), self._serve)
            self._serve()

    def _expire(self, which: int) -> None:
        if which not in self._waiting:
            return
        call, future = self._waiting[which]
        if not settle(future, call.try_receive) and self._loop is not None:
            self._loop.call_later(0.001, self._expire, which)  # the library's clock has not come to it yet

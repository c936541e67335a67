"""Producers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from . import _core
from ._errors import Full, TimeoutError, no_pickle, timed_out

if TYPE_CHECKING:
    from typing import NoReturn

    from typing_extensions import Self

    from ._buffer_like import BufferLike

_SLICE = 0.05  # seconds


class Producer(_core.Producer):
    """Publishes messages to one queue. ``Session.producer()`` opens one.

    Calls from several threads take turns. As a context manager it ends its stream at the end, or breaks it off where an
    exception leaves the block. **A producer that is never closed has not ended its stream**: Python cannot tell a
    program that has sent everything from one that has failed, so consumers wait for another producer.
    """

    __slots__ = ("__weakref__",)

    async def send_async(self, data: BufferLike, timeout: float | None = None) -> None:
        """As ``send()``, without holding up the event loop: where there is no room, a thread of the loop waits for it.

        A task that is cancelled meanwhile may have sent the message.
        """
        if timeout is not None and timeout <= 0:
            self.send(data, 0)
            return
        if self.try_send(data):
            return
        expires = None if timeout is None else time.monotonic() + timeout
        loop = asyncio.get_running_loop()
        while True:
            # In slices: the loop's end waits for its threads.
            left = _SLICE if expires is None else min(_SLICE, max(0.0, expires - time.monotonic()))
            try:
                await loop.run_in_executor(None, self.send, data, left)
            except TimeoutError:
                pass
            except Full:
                if expires is None or time.monotonic() < expires:
                    raise
            else:
                return
            if expires is not None and time.monotonic() >= expires:
                raise timed_out(self.queue, "send", timeout)

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<ipcq.Producer of '{self.queue}'{', closed' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise no_pickle("producer")

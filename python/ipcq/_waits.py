"""Waiting for what nobody tells of, in an event loop: until when, and the looks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from ._errors import Full, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def running_loop() -> bool:
    """Whether this thread runs an event loop, which must not be held up."""
    return asyncio._get_running_loop() is not None  # noqa: SLF001 - the one that raises nothing


def remaining(expires: float | None) -> float | None:
    """Seconds until a time of ``time.monotonic()``, at least 0; None: no limit."""
    return None if expires is None else max(0.0, expires - time.monotonic())


async def with_room(
    send: Callable[[float | None], T],
    timeout: float | None,
    which: str,
    what: str,
    pauses: tuple[float, float] = (0.0005, 0.02),
) -> T:
    """Tries until there is room, which another process makes. At least once, and never when the time is over.

    Args:
        send: Gets the seconds that are left, and raises Full where there is no room.
        timeout: Seconds; None: no limit; 0: one look.
        which: Queue or actor, for the error.
        what: Is done, for the error.
        pauses: Seconds between two looks: the first time, and at most; each is twice the one before.

    Raises:
        TimeoutError: There was none in time.
    """
    expires = None if timeout is None else time.monotonic() + timeout
    left = timeout
    pause, longest = pauses
    while True:
        try:
            return send(left)
        except Full:
            await asyncio.sleep(pause if left is None else min(pause, left))
        pause = min(2 * pause, longest)
        left = remaining(expires)
        if left == 0:
            raise timed_out(which, what, timeout)

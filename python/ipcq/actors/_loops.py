"""Event loops of workers. A task that exits ends what awaits it, and never the loop that others share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

_log = logging.getLogger("ipcq")


class LoopThread:
    """The event loop of a runtime's actors of the tier "async", in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ipcq-actors", daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether this thread is its own."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Ends it, unless a handler holds it up. Waits for 1 s at most."""
        self._closing = True
        with contextlib.suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_current:
            self._thread.join(1.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._closing:
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                _say(error)
        _end(self.loop)


def run(main: Coroutine[Any, Any, None]) -> None:
    """As ``asyncio.run()``, but for a task that exits: ``main`` goes on."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        task = loop.create_task(main)
        while True:
            try:
                loop.run_until_complete(task)
            except (KeyboardInterrupt, SystemExit) as error:
                if task.done():
                    raise
                _say(error)
            else:
                return
    finally:
        _end(loop)
        asyncio.set_event_loop(None)


def _say(error: BaseException) -> None:
    """Of what asyncio passes on to whoever runs the loop, beside giving it to what awaits the task."""
    _log.error("a task in an event loop of actors has raised %r: the loop goes on", error)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """What ``asyncio.run()`` does at its end."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        loop.run_until_complete(asyncio.wait(left) if left else asyncio.sleep(0))
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()

"""The runtime's own server of an actor's queue: fails messages that no worker will come to."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from .._errors import ClosedError, Error, TimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._server import Server
    from ._states import FailureCode

_LOOK = 0.1


class Refusal:
    """Thread-safe, but for ``pause()`` and ``close()``, which are of one thread at a time.

    Attributes:
        refused: Messages that were failed.
    """

    def __init__(self, name: str, server: Server) -> None:
        self.refused = 0
        self._name = name
        self._server = server
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, code: FailureCode, text: str, first: Callable[[], None] | None) -> None:
        """Fails from now on what is there and what comes, in a thread that calls ``first`` before. Idempotent."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._run, args=(code, text, first), name=f"{self._name}-failed", daemon=True
        )
        self._thread.start()

    def pause(self) -> None:
        """Ends that. Waits for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def refuse_all(self, code: FailureCode, text: str) -> None:
        """Fails what is there."""
        while (request := self._server.try_receive()) is not None:
            request.fail(code, text, 0)
            self.refused += 1

    def close(self) -> None:
        """Ends it all."""
        self.pause()
        with contextlib.suppress(Error):
            self._server.close()

    def _run(self, code: FailureCode, text: str, first: Callable[[], None] | None) -> None:
        if first is not None:
            with contextlib.suppress(Error):
                first()
        while not self._stop.is_set():
            try:
                request = self._server.receive(_LOOK)
            except TimeoutError:
                continue
            except ClosedError:
                return
            request.fail(code, text, 0)
            self.refused += 1

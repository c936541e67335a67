"""Messages whose replies nobody wants: kept under way until they are done, counted, and logged where they fail."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from .._errors import ClosedError, EndOfStream, Error, Full, StatusError, timed_out
from ._links import Address, close, open_link, running_loop

if TYPE_CHECKING:
    from .._client import Call

_log = logging.getLogger("ipcq")
_IDLE = 5.0  # seconds after which thread and client go, until something is told again
_AT_EXIT = 5.0  # seconds that the interpreter's end waits for what was told


class Teller:
    """What this process has told one actor. Thread-safe.

    A call that nobody keeps is cancelled; so they are kept here, and a thread takes their answers, lest these take up
    room that others need.
    """

    def __init__(self, to: Address, failed: int = 0) -> None:
        self.name = to.name
        self.link = open_link(to)
        self.pid = os.getpid()
        self._changed = threading.Condition()
        self._calls: dict[int, Call] = {}
        self._early: set[int] = set()  # done before tell() has kept them
        self._sending = 0
        self._over = False
        self._failed = failed  # of the teller before
        self._thread = threading.Thread(target=self._run, name=f"tells-{to.name}", daemon=True)
        self._thread.start()

    def tell(self, value: Any, timeout: float | None) -> None:
        """Sends; waits for room. Raises TimeoutError; in an event loop Full, at once; ClosedError."""
        with self._changed:
            if self._over:
                raise ClosedError(f"actor '{self.name}': nothing was told for a while")
            self._sending += 1
        call = None
        try:
            call = self._send(value, timeout)
        finally:
            with self._changed:
                self._sending -= 1
                if call is not None and call.id in self._early:
                    self._early.discard(call.id)
                elif call is not None:
                    self._calls[call.id] = call
                self._changed.notify_all()

    def _send(self, value: Any, timeout: float | None) -> Call:
        expires = None if timeout is None else time.monotonic() + timeout
        in_loop = running_loop()
        waits = expires is None and not in_loop
        while True:
            try:
                # The call itself has no deadline: it is worked on however long it waits.
                return self.link.input.send(self.link.client, value, None, waits)
            except Full:
                if in_loop:
                    raise
                if expires is not None and time.monotonic() >= expires:
                    raise timed_out(self.name, "call", timeout) from None
                with self._changed:  # as many as `calls` are under way, or a slot is still another's
                    self._changed.wait(0.02)

    def flush(self, timeout: float | None) -> int:
        """Waits until all is done. Returns how many failed since the last one. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._calls, timeout):
                raise timed_out(self.name, "flush", timeout)
            failed, self._failed = self._failed, 0
            return failed

    @property
    def under_way(self) -> int:
        """Messages that are not done."""
        return len(self._calls)

    @property
    def closed(self) -> bool:
        """Whether it tells nothing more: actor or broker has gone, or there was nothing to tell."""
        return self._over

    def end(self) -> None:
        """Waits until its thread has seen that the client is closed."""
        with self._changed:
            self._changed.notify_all()
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            while self._has_calls():
                call = self.link.client.completed(0.5)
                if call is not None:
                    self._settle(call)
                del call  # and the room of its reply
        except Error as error:  # actor, session or broker has gone
            self._give_up(str(error))
        close(self.link)

    def _has_calls(self) -> bool:
        """Waits for one. False: none came for a while."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._calls or self.link.client.closed, _IDLE)
                if self.link.client.closed:
                    raise ClosedError("its client was closed")
                if self._calls:
                    return True
                if not self._sending:
                    self._over = True
                    return False

    def _settle(self, call: Call) -> None:
        reason = ""
        try:
            if call.try_receive() is not None and call.has_more:
                return  # a stream: to its end
        except EndOfStream:
            pass
        except StatusError as error:
            reason = str(error)
        with self._changed:
            if self._calls.pop(call.id, None) is None:
                self._early.add(call.id)
            if reason:
                self._failed += 1
                _log.error("actor '%s': a message that it was told failed: %s", self.name, reason)
            self._changed.notify_all()

    def _give_up(self, reason: str) -> None:
        with self._changed:
            self._over = True
            left, self._calls = len(self._calls), {}
            self._failed += left
            if left:
                _log.error("actor '%s': %d messages that it was told have failed: %s", self.name, left, reason)
            self._changed.notify_all()


_lock = threading.Lock()
_tellers: dict[Address, Teller] = {}


def teller(to: Address) -> Teller:
    """This process' teller of an actor. Raises as ``open_link()``."""
    with _lock:
        found = known(to)
        if found is None or found.closed:
            failed = found.flush(0) if found is not None else 0
            found = _tellers[to] = Teller(to, failed)
        return found


def retire(old: Teller) -> None:
    """Its client is of no use any more: the actor was launched anew, or has gone."""
    close(old.link)
    old.end()


def known(to: Address) -> Teller | None:
    """The teller of an actor that was told something."""
    found = _tellers.get(to)
    return found if found is not None and found.pid == os.getpid() else None


@atexit.register
def _flush_all() -> None:
    until = time.monotonic() + _AT_EXIT
    for one in list(_tellers.values()):
        if one.pid != os.getpid():
            continue
        try:
            one.flush(max(0.0, until - time.monotonic()))
        except Error:
            _log.warning(
                "actor '%s': %d messages that it was told are cancelled, since the interpreter ends; flush() waits "
                "for them",
                one.name,
                one.under_way,
            )

"""Messages whose replies nobody wants: kept under way until they are done, counted, and logged where they fail."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from .._errors import EndOfStream, Error, Full, StatusError, timed_out
from .._waits import running_loop
from ._links import Address, close, open_link

if TYPE_CHECKING:
    from typing_extensions import Self

    from .._client import Call

_log = logging.getLogger("ipcq")
_IDLE = 5.0  # seconds after which thread and client go, until something is told again
_AT_EXIT = 5.0  # seconds that the interpreter's end waits for what was told


class _Told:
    """What this process has told one actor. Its condition guards its tellers, too.

    As a context manager it stays known.

    Attributes:
        current: What tells now.
        tellers: That one, and those before it that have messages which are not done.
        failed: Messages that failed since the last ``flush()``.
        users: Blocks that it is the context manager of.
    """

    def __init__(self, to: Address) -> None:
        self.to = to
        self.changed = threading.Condition()
        self.opening = threading.RLock()  # a signal's handler may tell, too
        self.current: Teller | None = None
        self.tellers: list[Teller] = []
        self.failed = 0
        self.users = 0

    @property
    def under_way(self) -> int:
        """Messages that are not done."""
        return sum(one.under_way for one in self.tellers)

    def teller(self) -> Teller:
        """What tells now. Raises as ``open_link()``."""
        with self.opening:
            with self.changed:
                found = self.current
            if found is None:
                found = Teller(self)
                with self.changed:
                    self.current = found
                    self.tellers.append(found)
                try:
                    found.start()
                except BaseException:
                    found.end()
                    raise
            return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            self.users -= 1
        _forget(self)


class Teller:
    """A client by which this process tells an actor. Thread-safe.

    A call that nobody keeps is cancelled; so they are kept here, and a thread takes their answers, lest these take up
    room that others need. Once it is retired it tells nothing more, and ends when all is done.
    """

    def __init__(self, told: _Told) -> None:
        self.name = told.to.name
        self.link = open_link(told.to)
        self._told = told
        self._changed = told.changed
        self._calls: dict[int, Call] = {}
        self._early: set[int] = set()  # done before tell() has kept them
        self._sending = 0
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"tells-{self.name}", daemon=True)

    def start(self) -> None:
        """Starts its thread."""
        self._thread.start()

    def tell(self, value: Any, timeout: float | None) -> bool:
        """Sends; waits for room. False: another tells now. Raises TimeoutError; in an event loop Full, at once."""
        with self._changed:
            if self._told.current is not self:
                return False
            self._sending += 1
        call = None
        try:
            call = self._send(value, timeout)
        finally:
            with self._changed:
                self._sending -= 1
                if call is not None:
                    self._keep(call)
                self._changed.notify_all()
        return True

    def _keep(self, call: Call) -> None:
        if call.id in self._early:
            self._early.discard(call.id)
        elif not self._over:
            self._calls[call.id] = call
        else:  # actor or broker have gone meanwhile, and nothing will come of it
            self._told.failed += 1
            _log.error("actor '%s': a message that it was told failed: the actor, or its broker, has gone", self.name)

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

    @property
    def under_way(self) -> int:
        """Messages that are not done."""
        return len(self._calls)

    def retire(self) -> None:
        """Its client has said that the actor takes nothing more. Does not wait for what is under way."""
        with self._changed:
            if self._told.current is self:
                self._told.current = None
            self._changed.notify_all()

    def end(self) -> None:
        """Its thread has ended, or could not be started."""
        with self._changed:
            self._over = True
            self.retire()
            self._told.tellers.remove(self)
        close(self.link)
        _forget(self._told)

    def _run(self) -> None:
        try:
            while self._has_calls():
                call = self.link.client.completed(0.5)
                if call is not None:
                    self._settle(call)
                del call  # and the room of its reply
        except Exception as error:  # noqa: BLE001 - actor, session or broker has gone; nobody takes answers any more
            self._give_up(str(error) or repr(error))
        self.end()

    def _has_calls(self) -> bool:
        """Waits for one. False: it was retired, or none came for a while."""
        with self._changed:
            while not self._calls:
                self._changed.wait_for(
                    lambda: self._calls or (self._told.current is not self and not self._sending), _IDLE
                )
                if not self._calls and not self._sending:
                    self._over = True
                    self.retire()
                    return False
            return True

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
                self._told.failed += 1
                _log.error("actor '%s': a message that it was told failed: %s", self.name, reason)
            self._changed.notify_all()

    def _give_up(self, reason: str) -> None:
        with self._changed:
            self._over = True
            left, self._calls = len(self._calls), {}
            self._told.failed += left
            if left:
                _log.error("actor '%s': %d messages that it was told have failed: %s", self.name, left, reason)
            self.retire()


_lock = threading.RLock()  # as `opening`
_known: dict[Address, _Told] = {}


def told(to: Address) -> _Told:
    """What this process has told an actor; to be left by ``with``."""
    with _lock:
        found = _known.get(to)
        if found is None:
            found = _known[to] = _Told(to)
        found.users += 1
        return found


def flush(to: Address, timeout: float | None) -> int:
    """Waits until all that this process has told an actor is done.

    Returns how many failed since the last one. Raises TimeoutError.
    """
    found = _known.get(to)
    if found is None:
        return 0
    with found.changed:
        if not found.changed.wait_for(lambda: not found.under_way, timeout):
            raise timed_out(to.name, "flush", timeout)
        failed, found.failed = found.failed, 0
    _forget(found)
    return failed


def _forget(old: _Told) -> None:
    """Nothing is kept of an actor that is told nothing more, but for failures that nobody has asked for."""
    with _lock:
        if not old.users and not old.tellers and not old.failed and _known.get(old.to) is old:
            del _known[old.to]


@atexit.register
def flush_all() -> None:
    """Waits some seconds for all that was told; what is not done then is logged. At the interpreter's end, once."""
    atexit.unregister(flush_all)
    until = time.monotonic() + _AT_EXIT
    for one in list(_known.values()):
        try:
            flush(one.to, max(0.0, until - time.monotonic()))
        except Error:
            _log.warning(
                "actor '%s': %d messages that it was told are cancelled, since the interpreter ends; flush() waits "
                "for them",
                one.to.name,
                one.under_way,
            )


def _forget_all() -> None:
    """In a child of a fork: all of it is the parent's."""
    global _lock, _known
    _lock, _known = threading.RLock(), {}


os.register_at_fork(after_in_child=_forget_all)

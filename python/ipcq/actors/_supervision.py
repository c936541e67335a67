"""Supervision of one actor: its workers, how they are started, watched and started again, and when that ends."""

from __future__ import annotations

import collections
import logging
import threading
import time
from typing import TYPE_CHECKING

from .. import _broker
from .._errors import ActorError, ClosedError, NotFoundError, UsageError
from ._counters import Counters
from ._instance import CRASHED, ENDED, READY, RESTARTED, STOPPED
from ._states import ActorState
from ._work import LAST_WORK
from ._workers import InLoop, InThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._session import Session
    from ._loops import LoopThread
    from ._workers import Setup, Worker

_log = logging.getLogger("ipcq")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 5.0  # seconds before a worker is started again
_STEADY = 10.0  # seconds of work after which the pauses begin anew
_AFTER_KILL = 2.0
_FOR_TASKS = 0.8  # of the time that workers have to end: then coroutines are cancelled, and still have the rest
_S = ActorState


class _Slot:
    """A place for a worker: the one that runs, or what is to follow it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.ready_at: float | None = None
        self.pause = _FIRST_PAUSE
        self.timer: threading.Timer | None = None
        self.failure: tuple[str, BaseException | None] | None = None


class Supervision:
    """What an actor has of workers. What these tell waits for no transition.

    Attributes:
        state: Of the actor.
        reason: Why it has failed; empty: it has not.
    """

    def __init__(self, setup: Setup, session: Session, loop: Callable[[], LoopThread]) -> None:
        self.name = setup.name
        self.spec = setup.spec
        self.state = _S.LAUNCHED
        self.reason = ""
        self._setup = setup
        self._session = session
        self._loop = loop
        self._counters = Counters()
        self._slots = [_Slot(number) for number in range(setup.spec.workers)]
        self._changed = threading.Condition(threading.RLock())
        self._restarts = 0
        self._recent: collections.deque[float] = collections.deque()
        self._keeps_on = False  # dead workers are followed by others

    def _refuse(self) -> None:
        """The actor has failed: tells those who wait."""
        raise NotImplementedError

    def refuse_own_handler(self, call: str) -> None:
        """Raises UsageError where a handler would wait for its own end."""
        with self._changed:
            own = any(slot.worker is not None and slot.worker.is_current for slot in self._slots)
        if own:
            raise UsageError(
                f"actor '{self.name}': {call} in a handler of its own tier would wait for itself: have another thread "
                "do it, and do not wait for that thread"
            )

    def pids(self) -> list[int]:
        """Of the worker processes that run; none of other tiers."""
        with self._changed:
            found = [getattr(slot.worker, "pid", None) for slot in self._slots]
        return [pid for pid in found if pid is not None]

    def _start_workers(self, timeout: float) -> None:
        try:
            failure = self._first_failure(timeout)
        except BaseException:  # Ctrl-C, or a thread or descriptor too many
            self._stop_workers(time.monotonic() + 1.0)
            raise
        if failure is None:
            return
        self._stop_workers(time.monotonic() + 1.0)
        reason, error = failure
        if self.spec.tier == "process" and reason.startswith("its process ended with exit code"):
            reason += (
                "; what it printed says more. A script that launches actors in processes does so under "
                "`if __name__ == '__main__':`"
            )
        raise ActorError(f"actor '{self.name}' did not start: {reason}") from error

    def _first_failure(self, timeout: float) -> tuple[str, BaseException | None] | None:
        """Starts a worker at each place, and waits until all are ready."""
        with self._changed:
            self._keeps_on = False  # one that dies before it was ready tells the caller of launch()
            for slot in self._slots:
                slot.failure, slot.ready_at, slot.pause = None, None, _FIRST_PAUSE
                self._start(slot)
            self._changed.wait_for(
                lambda: any(slot.failure for slot in self._slots) or all(slot.ready_at for slot in self._slots), timeout
            )
            failure = next((slot.failure for slot in self._slots if slot.failure), None)
            if failure is None and not all(slot.ready_at for slot in self._slots):
                failure = f"no worker was ready within {timeout} s: start_timeout gives it longer", None
            self._keeps_on = failure is None
            return failure

    def _start(self, slot: _Slot) -> None:
        worker = self._new_worker(slot.number)
        slot.worker = worker
        self._counters.add(worker)
        try:
            worker.start()
        except BaseException:
            slot.worker = None
            worker.kill()  # it runs, perhaps: Ctrl-C can come right behind the start of its thread
            self._counters.fold(worker)
            raise

    def _new_worker(self, number: int) -> Worker:
        if self.spec.tier == "process":
            from ._processes import InProcess

            return InProcess(number, self._setup, self._told)
        if self.spec.tier == "async":
            return InLoop(number, self._setup, self._session, self._told, self._loop())
        return InThread(number, self._setup, self._session, self._told)

    def _told(self, worker: Worker, what: str, reason: str, error: BaseException | None) -> None:
        """By a worker, from a thread of its own."""
        with self._changed:
            if what in (CRASHED, ENDED):
                self._counters.fold(worker)
            slot = next((one for one in self._slots if one.worker is worker), None)
            if slot is None:  # it was left alone, since it did not return
                return
            if what == READY:
                slot.ready_at = time.monotonic()
            elif what == STOPPED:
                self._fail(reason)
            elif what == RESTARTED:
                self._count_restart(reason)
            else:
                self._ended(slot, reason if what == CRASHED else "", error)
            self._changed.notify_all()

    def _ended(self, slot: _Slot, reason: str, error: BaseException | None) -> None:
        steady = slot.ready_at is not None and time.monotonic() - slot.ready_at >= _STEADY
        slot.worker = slot.ready_at = None
        if not self._keeps_on:
            slot.failure = (reason or "it ended by itself", error)
            return
        if self._session.closed:
            return
        _log.warning("actor '%s': worker %d: %s; it is started again", self.name, slot.number, reason or "it ended")
        if not self._count_restart(reason or "a worker ended"):
            return
        slot.pause = _FIRST_PAUSE if steady else slot.pause
        slot.timer = threading.Timer(slot.pause, self._start_again, [slot])
        slot.timer.daemon = True
        try:
            slot.timer.start()
        except RuntimeError as second:  # no thread is left
            slot.timer = None
            self._fail(f"a worker could not be started again: {second}; before that: {reason or 'it ended'}")
        slot.pause = min(2 * slot.pause, _LONGEST_PAUSE)

    def _start_again(self, slot: _Slot) -> None:
        gone = self._queue_has_gone()
        with self._changed:
            slot.timer = None
            if not self._keeps_on or slot.worker is not None:
                return
            if gone:
                self._fail(gone)
                return
            try:
                self._start(slot)
            except Exception as error:  # noqa: BLE001 - descriptors or threads may be there later
                self._ended(slot, f"it could not be started: {error!r}", error)

    def _queue_has_gone(self) -> str:
        """Why no worker can be started any more; empty: one can, or the broker cannot be asked now."""
        try:
            known = any(queue.name == self.name for queue in _broker.stats(self._setup.broker).queues)
        except (NotFoundError, ClosedError) as error:
            return f"its broker has gone: {error}"
        except Exception:  # noqa: BLE001 - the start says it
            return ""
        return "" if known else "its queue was removed"

    def _count_restart(self, reason: str) -> bool:
        """False: there were too many, and the actor has failed."""
        now = time.monotonic()
        while self._recent and now - self._recent[0] > self.spec.restart_window:
            self._recent.popleft()
        most = self.spec.max_restarts
        if most is not None and len(self._recent) >= most:
            self._fail(f"{most} restarts within {self.spec.restart_window} s were not enough; the last time: {reason}")
            return False
        self._recent.append(now)
        self._restarts += 1
        return True

    def _fail(self, reason: str) -> None:
        self._let_go()
        if self.state not in (_S.ACTIVE, _S.INACTIVE):
            return
        self.state, self.reason = _S.FAILED, reason
        _log.error("actor '%s' has failed: %s", self.name, reason)
        self._refuse()

    def _let_go(self, tasks_for: float = LAST_WORK) -> None:
        """All workers are to end, and none follows."""
        self._keeps_on = False
        for slot in self._slots:
            if slot.timer is not None:
                slot.timer.cancel()
                slot.timer = None
            if slot.worker is not None:
                slot.worker.stop(tasks_for)

    def _stop_workers(self, until: float) -> None:
        with self._changed:
            self._let_go(_FOR_TASKS * (until - time.monotonic()))
            workers = [slot.worker for slot in self._slots if slot.worker is not None]
        left = [worker for worker in workers if not worker.join(max(0.0, until - time.monotonic()))]
        for worker in left:
            _log.warning("actor '%s': worker %d did not end in time, and is killed", self.name, worker.number)
            worker.kill()
        for worker in left:
            if not worker.join(_AFTER_KILL):
                _log.error(
                    "actor '%s': worker %d goes on: its handler does not return, and a thread cannot be killed",
                    self.name,
                    worker.number,
                )

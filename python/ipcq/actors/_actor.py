"""One actor as its runtime has it: queue, workers, life cycle and supervision."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from .. import _broker
from .._errors import ActorError, ClosedError, Error
from ._codecs import codec_of
from ._counters import BUSY_NS, CANCELLED, COMPLETED, FAILED, RECEIVED, Counters, latency_of
from ._instance import CRASHED, READY, RESTARTED, STOPPED
from ._mailbox import queue_options
from ._refusal import Refusal
from ._states import ActorState, FailureCode, next_state
from ._telemetry import ActorTelemetry
from ._workers import InLoop, InThread, LoopThread, Setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._session import Session
    from ._spec import ActorSpec
    from ._workers import Worker

_log = logging.getLogger("ipcq")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 5.0  # seconds before a worker is started again
_STEADY = 10.0  # seconds of work after which the pauses begin anew
_AFTER_KILL = 2.0
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


class Actor:
    """Thread-safe. Transitions wait for each other; what workers tell waits for none."""

    def __init__(
        self,
        name: str,
        spec: ActorSpec,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        session: Session,
        address: str,
        loop: Callable[[], LoopThread],
    ) -> None:
        self.name = name
        self.spec = spec
        self.priority = spec.priority
        self.state = _S.LAUNCHED
        self.since = time.time()
        self.reason = ""
        self._setup = Setup(name, spec, arguments, address)
        self._session = session
        self._address = address
        self._loop = loop
        self._counters = Counters(spec.workers)
        self._slots = [_Slot(number) for number in range(spec.workers)]
        self._transition = threading.Lock()
        self._changed = threading.Condition(threading.RLock())
        self._restarts = 0
        self._recent: collections.deque[float] = collections.deque()
        self._keeps_on = False  # dead workers are followed by others
        self._refusal: Refusal | None = None

    def create(self, options: dict[str, Any]) -> None:
        """Creates the queue, which is paused, and the runtime's own server of it. Raises as ``create_queue()``."""
        _broker.create_queue(self.name, broker=self._address, **queue_options(self.spec, options))
        try:
            kind, answer = codec_of(self.spec.input).schema, codec_of(self.spec.output).schema
            # It receives nothing while the actor is well. Where it is, callers are not told that there is no server.
            self._refusal = Refusal(self.name, self._session.server(self.name, schema=kind, result_schema=answer))
        except BaseException:
            _broker.remove_queue(self.name, at_once=True, broker=self._address)
            raise

    def activate(self, transition: str, timeout: float) -> None:
        """``activate`` or ``reactivate``; waits for workers that are to be started."""
        with self._transition:
            was = self.state
            if next_state(self.name, was, transition) is was:
                return
            if was is _S.FAILED:
                self._stop_workers(time.monotonic() + timeout)
                self._refuser.pause()
                self._recent.clear()
            with self._changed:
                self.state = _S.ACTIVE
            if was is not _S.INACTIVE:
                try:
                    self._start_workers(timeout)
                except BaseException:
                    with self._changed:
                        self.state = was
                        if was is _S.FAILED:
                            self._refuse()
                    raise
            with self._changed:
                if self.state is _S.ACTIVE:
                    self.reason = ""
                    _broker.resume(self.name, broker=self._address)

    def deactivate(self) -> None:
        """Pauses the queue: workers finish what they have."""
        with self._transition:
            if next_state(self.name, self.state, "deactivate") is self.state:
                return
            with self._changed:
                _broker.pause(self.name, broker=self._address)
                self.state = _S.INACTIVE

    def terminate(self, drain_until: float, stop_for: float) -> int:
        """Ends it. Returns how many messages were failed without a worker. Called again, it goes on where it was."""
        with self._transition:
            with self._changed:
                was, self.state = self.state, _S.TERMINATING
                if was is _S.TERMINATED:
                    self.state = was
                    return 0
            if was is _S.ACTIVE:
                with contextlib.suppress(Error):  # of a broker that has gone
                    _broker.drain(self.name, max(0.0, drain_until - time.monotonic()), broker=self._address)
            self._stop_workers(time.monotonic() + stop_for)
            before = self._refuser.refused
            self._refuser.pause()
            with contextlib.suppress(Error):
                _broker.resume(self.name, broker=self._address)
                _broker.drain(self.name, 0.0, broker=self._address)
                self._refuser.refuse_all(FailureCode.TERMINATED, f"actor '{self.name}' was terminated")
            self._refuser.close()
            try:
                _broker.remove_queue(self.name, at_once=True, broker=self._address)
            except (ClosedError, LookupError, OSError) as error:
                _log.warning("actor '%s': its queue could not be removed: %s", self.name, error)
            with self._changed:
                self.state = _S.TERMINATED
                self._counters.close()
            return self._refuser.refused - before

    def kill(self) -> None:
        """Ends all workers at once. ``terminate()`` does the rest."""
        with self._changed:
            self.state, self._keeps_on = _S.TERMINATING, False
            workers = [slot.worker for slot in self._slots if slot.worker is not None]
        for worker in workers:
            worker.kill()

    def telemetry(self) -> ActorTelemetry:
        """Counters as they are now."""
        waiting = 0
        if self.state is not _S.TERMINATED:
            with contextlib.suppress(Error):
                queue = next(one for one in _broker.stats(self._address).queues if one.name == self.name)
                waiting = sum(group.waiting for group in queue.groups)
        with self._changed:
            workers = [slot.worker for slot in self._slots if slot.worker is not None]
        for worker in workers:
            worker.settle()
        with self._changed:
            sums, lost = self._counters.totals(), self._counters.lost
            done = sums[COMPLETED] + sums[FAILED] + lost
            return ActorTelemetry(
                name=self.name,
                state=self.state,
                tier=self.spec.tier,
                priority=self.spec.priority,
                workers=sum(slot.ready_at is not None for slot in self._slots),
                received=sums[RECEIVED],
                completed=sums[COMPLETED],
                failed=sums[FAILED],
                lost=lost,
                cancelled=sums[CANCELLED],
                in_flight=sums[RECEIVED] - done,
                waiting=waiting,
                rejected=self._refuser.refused,
                restarts=self._restarts,
                busy_seconds=sums[BUSY_NS] / 1e9,
                latency=latency_of(sums),
                since=self.since,
            )

    def pids(self) -> list[int]:
        """Of the worker processes that run; none of other tiers."""
        with self._changed:
            found = [getattr(slot.worker, "pid", None) for slot in self._slots]
        return [pid for pid in found if pid is not None]

    @property
    def _refuser(self) -> Refusal:
        assert self._refusal is not None
        return self._refusal

    # Workers

    def _start_workers(self, timeout: float) -> None:
        with self._changed:
            self._keeps_on = False  # one that dies before it was ready tells the caller of launch()
            for slot in self._slots:
                slot.failure, slot.ready_at, slot.pause = None, None, _FIRST_PAUSE
                self._start(slot)
            self._changed.wait_for(
                lambda: any(slot.failure for slot in self._slots) or all(slot.ready_at for slot in self._slots), timeout
            )
            self._keeps_on = True
            failure = next((slot.failure for slot in self._slots if slot.failure), None)
            if failure is None and all(slot.ready_at for slot in self._slots):
                return
            self._keeps_on = False
        self._stop_workers(time.monotonic() + 1.0)
        reason, error = failure or (f"no worker was ready within {timeout} s: start_timeout gives it longer", None)
        if self.spec.tier == "process" and reason.startswith("its process ended with exit code"):
            reason += (
                "; what it printed says more. A script that launches actors in processes does so under "
                "`if __name__ == '__main__':`"
            )
        raise ActorError(f"actor '{self.name}' did not start: {reason}") from error

    def _start(self, slot: _Slot) -> None:
        slot.worker = self._new_worker(slot.number)
        slot.worker.start()

    def _new_worker(self, number: int) -> Worker:
        if self.spec.tier == "process":
            from ._processes import InProcess

            return InProcess(number, self._setup, self._counters, self._told)
        mapping = self._counters.mapping
        if self.spec.tier == "async":
            return InLoop(number, self._setup, self._session, mapping, self._told, self._loop())
        return InThread(number, self._setup, self._session, mapping, self._told)

    def _told(self, worker: Worker, what: str, reason: str, error: BaseException | None) -> None:
        """By a worker, from a thread of its own."""
        with self._changed:
            slot = self._slots[worker.number]
            if slot.worker is not worker:
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
        self._counters.fold(slot.number)
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
        slot.timer.start()
        slot.pause = min(2 * slot.pause, _LONGEST_PAUSE)

    def _start_again(self, slot: _Slot) -> None:
        with self._changed:
            slot.timer = None
            if self._keeps_on and slot.worker is None:
                self._start(slot)

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

    def _refuse(self) -> None:
        self._refuser.start(
            FailureCode.ACTOR_FAILED,
            f"actor '{self.name}' has failed: {self.reason}",
            lambda: _broker.resume(self.name, broker=self._address),  # it may be paused
        )

    def _let_go(self) -> None:
        """All workers are to end, and none follows."""
        self._keeps_on = False
        for slot in self._slots:
            if slot.timer is not None:
                slot.timer.cancel()
                slot.timer = None
            if slot.worker is not None:
                slot.worker.stop()

    def _stop_workers(self, until: float) -> None:
        with self._changed:
            self._let_go()
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

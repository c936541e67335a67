"""One actor as its runtime has it: queue, workers, life cycle and supervision."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from .. import _broker
from .._errors import ClosedError, Error
from ._codecs import codec_of
from ._counters import BUSY_NS, CANCELLED, COMPLETED, FAILED, RECEIVED, latency_of
from ._mailbox import queue_options
from ._refusal import Refusal
from ._states import ActorState, FailureCode, next_state
from ._supervision import Supervision
from ._telemetry import ActorTelemetry
from ._workers import Setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._session import Session
    from ._loops import LoopThread
    from ._spec import ActorSpec

_log = logging.getLogger("ipcq")
_S = ActorState


class Actor(Supervision):
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
        super().__init__(Setup(name, spec, arguments, address), session, loop)
        self.priority = spec.priority
        self.since = time.time()
        self._address = address
        self._transition = threading.Lock()
        self._refusal: Refusal | None = None
        self._rejected = 0  # by a refusal that has gone

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
            try:
                if was is _S.FAILED:
                    self._stop_workers(time.monotonic() + timeout)
                    self._refuser.pause()
                    self._recent.clear()
                    _broker.pause(self.name, broker=self._address)  # no worker begins before all are ready
                with self._changed:
                    self.state = _S.ACTIVE
                if was is not _S.INACTIVE:
                    self._start_workers(timeout)
                with self._changed:
                    if self.state is _S.ACTIVE:
                        _broker.resume(self.name, broker=self._address)
                        self.reason = ""
            except BaseException:
                with self._changed:
                    if self.state is _S.ACTIVE:
                        self.state = was
                    if was is _S.FAILED:
                        self._refuse()
                raise

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
        self.refuse_own_handler("terminate")
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
            try:
                _broker.remove_queue(self.name, at_once=True, broker=self._address)
            except (ClosedError, LookupError, OSError) as error:
                _log.warning("actor '%s': its queue could not be removed: %s", self.name, error)
            self._refuser.close()  # behind that: callers are not told that the runtime has died
            failed = self._refuser.refused - before
            with self._changed:
                self.state = _S.TERMINATED
                # The runtime keeps it for who asks for its state and its counters, and for nothing else.
                self._rejected, self._refusal = self._refuser.refused, None
                self._setup = dataclasses.replace(self._setup, arguments=((), {}))
                self._slots = []
            return failed

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
                waiting = sum(
                    group.waiting
                    for queue in _broker.stats(self._address).queues
                    if queue.name == self.name
                    for group in queue.groups
                )
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
                rejected=self._refusal.refused if self._refusal is not None else self._rejected,
                restarts=self._restarts,
                busy_seconds=sums[BUSY_NS] / 1e9,
                latency=latency_of(sums),
                since=self.since,
            )

    def _refuse(self) -> None:
        self._refuser.start(
            FailureCode.ACTOR_FAILED,
            f"actor '{self.name}' has failed: {self.reason}",
            lambda: _broker.resume(self.name, broker=self._address),  # it may be paused
        )

    @property
    def _refuser(self) -> Refusal:
        assert self._refusal is not None
        return self._refusal

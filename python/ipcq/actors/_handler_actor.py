"""An actor that is a queue's handler: in C++, CUDA or PTX, on the host or on a GPU."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from .. import _broker
from .._errors import ClosedError, Error
from ._codecs import codec_of
from ._states import ActorState, next_state
from ._telemetry import ActorTelemetry

if TYPE_CHECKING:
    from .._stats import QueueStats

_S = ActorState


class HandlerActor:
    """Thread-safe. The broker runs the handler, and starts its process again (docs/guide/handlers.md)."""

    def __init__(self, name: str, types: tuple[Any, Any], priority: int, address: str) -> None:
        self.name = name
        self.types = types
        self.state = _S.LAUNCHED
        self.since = time.time()
        self.reason = ""
        self.priority = priority
        self._address = address
        self._transition = threading.Lock()
        self._last: QueueStats | None = None

    def create(self, options: dict[str, Any]) -> None:
        """Creates the queue, paused."""
        size = options.get("lines", 64)
        chosen: dict[str, Any] = {
            "lines": size,
            "calls": size,
            "slots": 2 * size,
            "slot_bytes": "64KiB",
        }
        for key, of in zip(("schema", "result_schema"), self.types, strict=True):
            schema = codec_of(of, handler=True).schema
            if schema:
                chosen[key] = schema
        chosen.update(options, paused=True)
        _broker.create_queue(self.name, broker=self._address, **chosen)

    def activate(self, transition: str, timeout: float) -> None:  # noqa: ARG002 - the broker has its own
        """``activate`` or ``reactivate``."""
        with self._transition:
            if next_state(self.name, self.state, transition) is not self.state:
                _broker.resume(self.name, broker=self._address)
                self.state = _S.ACTIVE

    def deactivate(self) -> None:
        """Pauses the queue, which waits for the handler, 3 s at most (``BackendError``)."""
        with self._transition:
            if next_state(self.name, self.state, "deactivate") is not self.state:
                _broker.pause(self.name, broker=self._address)
                self.state = _S.INACTIVE

    def terminate(self, drain_until: float, stop_for: float) -> int:  # noqa: ARG002 - the broker has its own
        """Drains, and removes the queue. Returns how many messages were left; their calls end as ClosedError."""
        with self._transition:
            if self.state is _S.TERMINATED:
                return 0
            was, self.state = self.state, _S.TERMINATING
            left = 0
            with contextlib.suppress(Error):
                timeout = max(0.0, drain_until - time.monotonic()) if was is _S.ACTIVE else 0.0
                left = _broker.drain(self.name, timeout, broker=self._address)
                self._look()
            with contextlib.suppress(ClosedError, LookupError, OSError):  # the broker, or the queue, has gone
                _broker.remove_queue(self.name, at_once=True, broker=self._address)
            self.state = _S.TERMINATED
            return left

    def kill(self) -> None:
        """Nothing of it is in this process, nor a child of it."""

    def pids(self) -> list[int]:
        """None: the handler's process is the broker's."""
        return []

    def telemetry(self) -> ActorTelemetry:
        """What the queue's statistics tell."""
        if self.state is not _S.TERMINATED:
            with contextlib.suppress(Error):
                self._look()
        queue = self._last
        known = queue is not None
        processed = queue.processed if queue is not None else 0
        errors = queue.handler_errors if queue is not None else 0
        published = queue.published if queue is not None else 0
        return ActorTelemetry(
            name=self.name,
            state=self.state,
            tier="handler",
            priority=self.priority,
            workers=None,
            received=processed,
            completed=processed - errors if known else None,
            failed=errors if known else None,
            lost=None,
            cancelled=queue.calls_cancelled if queue is not None else None,
            in_flight=None,
            waiting=max(0, published - processed),
            rejected=0,
            restarts=None,
            busy_seconds=None,
            latency=None,
            since=self.since,
        )

    def _look(self) -> None:
        self._last = next((one for one in _broker.stats(self._address).queues if one.name == self.name), self._last)

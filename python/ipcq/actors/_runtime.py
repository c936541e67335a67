"""The runtime, which launches actors and keeps them going."""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing.util  # noqa: F401 - its end of processes is to come behind the runtimes'
import os
import threading
import time
from typing import TYPE_CHECKING, Any, overload

from .._broker import Broker
from .._errors import NotFoundError, UsageError
from .._session import connect
from . import _tells
from ._actor import Actor
from ._handler_actor import HandlerActor
from ._links import drop_session
from ._loops import LoopThread
from ._ref import ActorRef
from ._spec import check_importable, check_priority, spec_of
from ._states import ActorState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Self

    from ..handlers import Handler
    from ._telemetry import ActorTelemetry

_log = logging.getLogger("ipcq")
_DRAIN, _STOP = 5.0, 5.0  # seconds
_runtimes: set[ActorRuntime] = set()  # that are not closed: dropped or not, they end before the interpreter does


class ActorRuntime:
    """Launches actors, watches them and restarts their workers. Thread-safe.

    Args:
        broker: None: a broker of its own, of the name that ``$IPCQ_BROKER`` says, else ``default``. A ``Broker`` of
            this process. The name of one that runs, or the path of its control socket.

    As a context manager it terminates all actors at the end. Workers end when the process of their runtime is killed.

    Raises:
        UsageError: A broker of its own, and a live one has the name: pass the name.
        NotFoundError: No such broker.
    """

    def __init__(self, broker: Broker | str | None = None) -> None:
        self._pid = os.getpid()
        self._own = Broker() if broker is None else None
        owner = self._broker = self._own or broker  # kept: one that Python drops has stopped
        if isinstance(owner, str):
            self._address = owner or os.environ.get("IPCQ_BROKER") or "default"
        else:
            assert owner is not None
            self._address = owner.socket_path
        self._session = connect(self._address)
        self._actors: dict[str, Actor | HandlerActor] = {}
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._closed = False
        _runtimes.add(self)

    @property
    def broker(self) -> str:
        """Name of its broker, or the path of that broker's control socket."""
        return self._address

    def launch(
        self,
        actor: Any,
        name: str = "",
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        activate: bool = True,
        start_timeout: float = 30.0,
        **options: Any,
    ) -> ActorRef:
        """Creates the actor's queue, starts its workers, and waits until they are ready.

        Args:
            actor: A class or function with ``@actor`` on it. For ``tier="process"`` it must be importable.
            name: Of the actor, and of its queue; empty: that of the class or function.
            args: For the class' ``__init__``, by position.
            kwargs: The same, by keyword.
            activate: False: messages are taken and wait, until ``activate()`` starts workers.
            start_timeout: Seconds.
            options: What ``@actor`` takes, in place of what was said there (``tier="process"``, ``workers=4``); and
                ``QueueOptions``.

        Raises:
            ActorError: It did not start; the text says why. Nothing is left of it.
            UsageError: A bad option; the name is taken; it is not importable.
            BackendError, SystemError: As ``create_queue()``.
        """
        spec, of_queue = spec_of(actor).with_options(options)
        name = name or spec.label.rpartition(".")[2]
        arguments = (tuple(args), dict(kwargs or {}))
        if not spec.is_class and (arguments[0] or arguments[1]):
            raise UsageError(f"actor '{name}' is a function, and args are for the __init__ of a class")
        if spec.tier == "process":
            check_importable(spec, name, arguments)
        made = Actor(name, spec, arguments, self._session, self._address, self._loop_thread)
        self._launch(made, of_queue, activate, start_timeout)
        return ActorRef(name, self._address, spec.input, spec.output)

    def launch_handler(
        self,
        name: str,
        handler: str | os.PathLike[str] | Handler,
        *,
        input: Any = None,  # noqa: A002
        output: Any = None,
        priority: int = 0,
        activate: bool = True,
        **options: Any,
    ) -> ActorRef:
        """Launches an actor whose work a queue's handler does, on the host or on a GPU (docs/guide/calls.md).

        Args:
            name: Of the actor, and of its queue.
            handler: A name of ``handler_names()``, or the path of a file of your own, with parameters, or what
                ``ipcq.handler`` has made.
            input: A dataclass, ``numpy.ndarray`` (the handler sees the elements), or None for bytes.
            output: Likewise. Arrays have the shape and type of the message if the length is the same.
            priority: 0 to 255, a label.
            activate: False: messages are taken and wait.
            options: ``QueueOptions``: ``backend``, ``slot_bytes``, ``slots``, ``calls``, ...

        Raises:
            As ``create_queue()``.
        """
        check_priority(name, priority)
        made = HandlerActor(name, (input, output), priority, self._address)
        self._launch(made, {**options, "handler": handler}, activate, 0.0)
        return ActorRef(name, self._address, input, output)

    def activate(self, name: str, *, start_timeout: float = 30.0) -> None:
        """Starts the workers of an actor that was launched with ``activate=False``. Nothing, if it is active."""
        self._actor(name).activate("activate", start_timeout)

    def deactivate(self, name: str) -> None:
        """Its messages wait from now on, none is lost; workers finish what they have. Nothing, if it is inactive."""
        self._actor(name).deactivate()

    def reactivate(self, name: str, *, start_timeout: float = 30.0) -> None:
        """Lets an actor go on that was deactivated, or starts one anew that has failed. Nothing, if it is active."""
        self._actor(name).activate("reactivate", start_timeout)

    def terminate(self, name: str, *, drain: float = _DRAIN, stop: float = _STOP) -> int:
        """Ends an actor: takes no more, works off what waits, ends the workers and removes the queue.

        Args:
            name: Of the actor.
            drain: Seconds for what waits. Of an actor that is not active nothing is worked off.
            stop: Seconds that workers have for the message in hand; then processes are killed. Coroutines are cancelled
                after four fifths of it.

        Returns:
            How many messages were failed (``FailureCode.TERMINATED``), since no worker had come to them.

        Raises:
            UsageError: This is a handler of that actor, or both are of the tier "async": it would wait for itself.
        """
        return self._actor(name).terminate(time.monotonic() + drain, stop)

    def state(self, name: str) -> ActorState:
        """Of an actor that was launched here, also after its end."""
        return self._actor(name).state

    def reason(self, name: str) -> str:
        """Why an actor has failed; empty: it has not."""
        return self._actor(name).reason

    def pids(self, name: str) -> list[int]:
        """Of an actor's worker processes."""
        return self._actor(name).pids()

    @overload
    def telemetry(self, name: str) -> ActorTelemetry: ...
    @overload
    def telemetry(self, name: None = None) -> dict[str, ActorTelemetry]: ...
    def telemetry(self, name: str | None = None) -> ActorTelemetry | dict[str, ActorTelemetry]:
        """Counters of one actor (``ActorTelemetry``); without a name, of all that live, by name."""
        if name is not None:
            return self._actor(name).telemetry()
        with self._lock:
            actors = dict(self._actors)
        return {one: made.telemetry() for one, made in actors.items() if made.state is not ActorState.TERMINATED}

    def close(self, *, drain: float = _DRAIN, stop: float = _STOP) -> None:
        """Terminates all actors, the last one launched first, and stops a broker of its own. Idempotent.

        It takes ``drain`` seconds at most for all messages that wait, and ``stop`` and 2 more for each actor whose
        handler does not return: what has not ended then is killed, and the log says so. Ctrl-C kills at once.
        """
        if self._closed or self._pid != os.getpid():
            return
        with self._lock:
            actors = list(reversed(self._actors.values()))
        for one in actors:
            if isinstance(one, Actor):
                one.refuse_own_handler("close")
        self._closed = True
        _runtimes.discard(self)
        until = time.monotonic() + drain
        with contextlib.ExitStack() as last:  # each of it, whatever becomes of the others
            if self._own is not None:
                last.callback(self._own.stop)
                last.callback(drop_session, self._address)
            last.callback(self._session.close)
            if self._loop is not None:
                last.callback(self._loop.close)
            for one in actors:
                last.callback(_kill, one)
            for one in actors:
                try:
                    one.terminate(until, stop)
                except Exception:  # noqa: BLE001 - the others are to end, too
                    _log.exception("actor '%s' could not be terminated", one.name)

    def _launch(self, made: Actor | HandlerActor, options: dict[str, Any], activate: bool, timeout: float) -> None:
        with self._lock:
            if self._closed:
                raise UsageError(f"actor '{made.name}': this runtime is closed: make another one")
            before = self._actors.get(made.name)
            if before is not None and before.state is not ActorState.TERMINATED:
                raise UsageError(
                    f"actor '{made.name}' is there already, and {before.state.value}: terminate() it, or choose "
                    "another name"
                )
            made.create(options)
            self._actors[made.name] = made
        if activate:
            try:
                made.activate("activate", timeout)
            except BaseException:
                with self._lock:
                    if self._actors.get(made.name) is made:
                        del self._actors[made.name]
                made.terminate(0.0, 1.0)
                raise

    def _actor(self, name: str) -> Actor | HandlerActor:
        with self._lock:
            found = self._actors.get(name)
        if found is None:
            known = ", ".join(f"'{one}'" for one in self._actors) or "none"
            raise NotFoundError(f"this runtime has launched no actor '{name}'; it has {known}")
        return found

    def _loop_thread(self) -> LoopThread:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._loop = LoopThread()
        return self._loop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """``close()``; where an exception leaves the block, nothing that waits is worked off."""
        self.close(drain=_DRAIN if kind is None else 0.0)

    def __repr__(self) -> str:
        with self._lock:
            actors = ", ".join(map(_describe, self._actors.values()))
        return f"<ipcq.ActorRuntime at '{self._address}'{', closed' if self._closed else ''}: {actors or 'no actors'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an ActorRuntime belongs to its process: pass references (ActorRef), which are names")


def _kill(made: Actor | HandlerActor) -> None:
    if made.state is not ActorState.TERMINATED:
        made.kill()


def _describe(made: Actor | HandlerActor) -> str:
    return f"{made.name} ({made.state.value}{f', priority {made.priority}' if made.priority else ''})"


@atexit.register
def _close_all() -> None:
    _tells.flush_all()  # first: what was told is worked on before those end who do it
    for one in list(_runtimes):
        with contextlib.suppress(Exception):
            one.close(drain=0.0, stop=1.0)

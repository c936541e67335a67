"""What an actor is: its class or function, its types, and how it is run."""

from __future__ import annotations

import dataclasses
import inspect
import numbers
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, overload

from .._errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

F = TypeVar("F")

Tier = Literal["async", "thread", "process"]
_CHOICES = {
    "tier": ("async", "thread", "process"),
    "on_error": ("continue", "restart", "stop"),
    "on_death": ("fail", "redeliver"),
}
_AT_LEAST_ONE = ("queue_size", "workers", "concurrency")
_WHOLE = (*_AT_LEAST_ONE, "priority", "max_restarts")
_SECONDS = ("restart_window", "reply_timeout")
_MAY_BE_NONE = ("max_restarts", "reply_timeout")
_MARK = "__ipcq_actor__"
HOOKS = ("on_start", "on_stop")


@dataclass(frozen=True)
class ActorSpec:
    """What ``@actor`` was told. ``ActorRuntime.launch()`` takes each of these as a keyword, too, but for the target."""

    target: Any
    input: Any = None
    output: Any = None
    queue_size: int = 64
    message_bytes: int | str | None = None
    priority: int = 0
    tier: Tier = "thread"
    workers: int = 1
    concurrency: int = 64
    on_error: Literal["continue", "restart", "stop"] = "continue"
    on_death: Literal["fail", "redeliver"] = "fail"
    max_restarts: int | None = 16
    restart_window: float = 60.0
    reply_timeout: float | None = 30.0
    in_place: bool = False

    def __post_init__(self) -> None:
        for key, known in _CHOICES.items():
            if getattr(self, key) not in known:
                raise UsageError(
                    f"actor '{self.label}': {key}={getattr(self, key)!r} is unknown: there are {', '.join(known)}"
                )
        for key in (*_WHOLE, *_SECONDS):
            self._check_number(key)
        for key in _AT_LEAST_ONE:
            if getattr(self, key) < 1:
                raise UsageError(f"actor '{self.label}': {key} is {getattr(self, key)}, and is to be at least 1")
        check_priority(self.label, self.priority)
        if self.tier == "async" and self.workers != 1:
            raise UsageError(
                f"actor '{self.label}': the tier 'async' is one loop, and has one worker: raise concurrency, or choose "
                "tier='thread' or tier='process'"
            )

        if self.is_class and not self.is_async:
            for hook in HOOKS:
                if inspect.iscoroutinefunction(getattr(self.target, hook, None)):
                    raise UsageError(
                        f"actor '{self.label}': {hook} is a coroutine function, and on_message is none: make both one"
                    )

    def _check_number(self, key: str) -> None:
        value, whole = getattr(self, key), key in _WHOLE
        if value is None and key in _MAY_BE_NONE:
            return
        if not isinstance(value, numbers.Integral if whole else numbers.Real) or isinstance(value, bool):
            what = "a whole number" if whole else "a number of seconds"
            raise UsageError(f"actor '{self.label}': {key} is {value!r}, and is to be {what}")
        if not float(value) >= 0:
            raise UsageError(f"actor '{self.label}': {key} is {value}, and is to be at least 0")

    @property
    def label(self) -> str:
        """What the class or function is called."""
        return str(getattr(self.target, "__qualname__", self.target))

    @property
    def is_class(self) -> bool:
        """Whether it has state: each worker has an instance of its own."""
        return inspect.isclass(self.target)

    @property
    def handler(self) -> Any:
        """What is called for a message."""
        return self.target.on_message if self.is_class else self.target

    @property
    def is_async(self) -> bool:
        """Whether messages are worked on in an event loop, ``concurrency`` at a time."""
        handler = self.handler
        return self.tier == "async" or inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)

    @property
    def in_work(self) -> int:
        """Messages that all workers may have at once."""
        return self.workers * (self.concurrency if self.is_async else 1)

    def with_options(self, options: dict[str, Any]) -> tuple[ActorSpec, dict[str, Any]]:
        """The spec with what ``options`` say, and those of them that are the queue's."""
        own = {field.name for field in dataclasses.fields(self)} - {"target"}
        if "paused" in options:
            raise UsageError(
                f"actor '{self.label}': paused is the life cycle's: activate=False keeps its messages waiting"
            )
        mine = {key: value for key, value in options.items() if key in own}
        return dataclasses.replace(self, **mine), {key: value for key, value in options.items() if key not in own}


class ActorOptions(TypedDict, total=False):
    """Options of ``actor()``."""

    input: Any
    output: Any
    queue_size: int
    message_bytes: int | str | None
    priority: int
    tier: Tier
    workers: int
    concurrency: int
    on_error: Literal["continue", "restart", "stop"]
    on_death: Literal["fail", "redeliver"]
    max_restarts: int | None
    restart_window: float
    reply_timeout: float | None
    in_place: bool


@overload
def actor(target: F, /) -> F: ...
@overload
def actor(**options: Unpack[ActorOptions]) -> Callable[[F], F]: ...
def actor(target: Any = None, /, **options: Unpack[ActorOptions]) -> Any:
    """Makes a function, a coroutine function, a generator or a class an actor, for ``ActorRuntime.launch()``.

    The function, or the class itself, stays as it is: it can be called and tested without a queue. A class has
    ``on_message(self, message)``, and may have ``on_start(self)`` and ``on_stop(self)``; its ``__init__`` gets the
    arguments of ``launch()``. A generator answers by several replies. A coroutine function works on up to
    ``concurrency`` messages at once.

    Args:
        target: Of ``@actor`` without options.
        input: Type of its messages: a dataclass, ``numpy.ndarray``, or None for bytes.
        output: Type of its replies, likewise. A handler that returns None answers by an empty reply (bytes alone).
        queue_size: Messages that may wait, rounded up to a power of two, and at least 2.
        message_bytes: Longest message or reply, where the types do not say: bytes, or text such as ``"1MiB"``;
            64 KiB by default.
        priority: 0 to 255, a label: it is shown, and orders nothing, for queues have no priority bands.
        tier: ``"async"``: tasks in one loop of the runtime. ``"thread"``: a thread of the runtime for each worker.
            ``"process"``: a process for each.
        workers: Threads or processes, which share the queue.
        concurrency: Of coroutine functions, and in the tier ``"async"``: messages that one worker has at once.
        on_error: When the handler raises, the message's call fails (``CallFailed``), and then: ``"continue"``;
            ``"restart"``: with a new instance, made once the other messages in work have ended; ``"stop"``: the
            actor has failed (``ActorState.FAILED``).
        on_death: What a worker had that was killed: ``"fail"``: its caller gets ``ServerDied``; ``"redeliver"``:
            another worker gets it, so that it may be worked on twice.
        max_restarts: Restarts within ``restart_window`` seconds, by ``on_error`` and after deaths, after which the
            actor has failed; None: any number.
        restart_window: Seconds.
        reply_timeout: Seconds that one of several replies may wait for its caller to read the one before.
        in_place: Arrays that the handler gets are views of the message, which must be gone when it returns: they save a
            copy. One that is kept holds up the answer until it ends.

    Raises:
        UsageError: An option cannot be, or a class has no ``on_message``.
    """

    def mark(target: F) -> F:
        check_target(target)
        label = getattr(target, "__qualname__", target)
        try:
            spec = ActorSpec(target, **options)
        except TypeError as error:
            raise UsageError(f"@actor of '{label}': {error}") from None
        try:
            setattr(target, _MARK, spec)
        except (AttributeError, TypeError):
            raise UsageError(
                f"{label} can be no actor: @actor is for functions and classes that are written in Python, and this is "
                f"{type(target).__name__}, which cannot be marked: write a function that calls it"
            ) from None
        return target

    return mark if target is None else mark(target)


def check_target(target: Any) -> None:
    """Raises UsageError for what can be no actor."""
    name = getattr(target, "__qualname__", repr(target))
    if not callable(target):
        raise UsageError(f"{name} can be no actor: it is neither a function nor a class")
    if inspect.isclass(target) and not callable(getattr(target, "on_message", None)):
        raise UsageError(f"the class {name} can be no actor: it has no method on_message(self, message)")


def check_priority(actor: str, priority: int) -> None:
    """Raises UsageError: it is none."""
    if not 0 <= priority <= 255:
        raise UsageError(f"actor '{actor}': priority is {priority}, and is to be from 0 to 255")


def spec_of(target: Any) -> ActorSpec:
    """What ``@actor`` said of it; of a class, of that class itself, not of one that it extends."""
    spec = vars(target).get(_MARK) if hasattr(target, "__dict__") else None
    if spec is None:
        name = getattr(target, "__qualname__", repr(target))
        raise UsageError(f"{name} is no actor yet: put @ipcq.actor(input=..., output=...) on it")
    assert isinstance(spec, ActorSpec)
    return spec if spec.target is target else dataclasses.replace(spec, target=target)


def check_importable(spec: ActorSpec, name: str, arguments: Any) -> None:
    """That another process finds the actor, and gets its arguments. Raises UsageError, which says what to do."""
    target = spec.target
    module, path = target.__module__, target.__qualname__
    where = f"actor '{name}': a process cannot import {module}.{path}"
    otherwise = "or choose tier='thread'"
    if "<lambda>" in path:
        raise UsageError(f"{where}, a lambda: write a function at the top of a module, {otherwise}")
    if "<locals>" in path:
        raise UsageError(f"{where}, which is local to a function: move it to the top of its module, {otherwise}")
    main = sys.modules.get("__main__")
    if module == "__main__":
        file = getattr(main, "__file__", None)
        if file is None or not Path(file).exists():
            raise UsageError(
                f"{where}: it was typed into a notebook, an interactive session or `python -c`: write it to a file, "
                f"say actors.py, and `from actors import {path}`, {otherwise}"
            )
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is not target:
        raise UsageError(f"{where}: that name is another object there; give it a name of its own, {otherwise}")
    try:
        pickle.dumps((spec, arguments))
    except Exception as error:
        raise UsageError(
            f"actor '{name}': its arguments or types cannot be sent to a process ({error}): pass names and values, and "
            f"open files, sessions and the like in its __init__, {otherwise}"
        ) from error

"""The object that works on messages, and what becomes of it when it raises."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from ._codecs import codec_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core import Request
    from ._spec import ActorSpec

_log = logging.getLogger("ipcq")

READY, RESTARTED, STOPPED, ENDED, CRASHED = "ready", "restarted", "stopped", "ended", "crashed"
"""What a worker tells the runtime: it answers; its instance was made anew; it stops by on_error; it has ended as it was
told; it has died."""


class Instance:
    """What one worker has of an actor: for a class, an object of it.

    Args:
        spec: Of the actor.
        name: Its name, for the log.
        arguments: Positional and by keyword, of its ``__init__``.
        tell: Called with what has happened (``RESTARTED``, ``STOPPED``) and the reason.
    """

    def __init__(
        self,
        spec: ActorSpec,
        name: str,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        tell: Callable[[str, str], None],
    ) -> None:
        self.spec = spec
        self.name = name
        self.input = codec_of(spec.input)
        self.output = codec_of(spec.output)
        self.stopped = False
        self._arguments = arguments
        self._tell = tell
        self._object: Any = None
        self._handle: Callable[[Any], Any] = spec.target
        self.streams = inspect.isgeneratorfunction(spec.handler) or inspect.isasyncgenfunction(spec.handler)
        self._keeps = not spec.in_place or self.streams

    def begin(self) -> Any:
        """Makes the object. Returns what its ``on_start`` does, which an event loop awaits."""
        if not self.spec.is_class:
            return None
        args, kwargs = self._arguments
        self._object = self.spec.target(*args, **kwargs)
        self._handle = self._object.on_message
        return getattr(self._object, "on_start", _nothing)()

    def end(self) -> Any:
        """Lets the object go. Returns what its ``on_stop`` does."""
        old, self._object = self._object, None
        return getattr(old, "on_stop", _nothing)()

    def call(self, request: Request) -> Any:
        """What the handler makes of a request's value."""
        return self._handle(self.input.value_of(request, self._keeps))

    def failed(self, error: Exception) -> bool:
        """After a message has failed. True: the object is to be made anew."""
        if self.spec.on_error == "continue" or self.stopped:
            return False
        if self.spec.on_error == "stop":
            self.stopped = True
            self._tell(STOPPED, f"its handler raised {error!r}, and on_error is 'stop'")
            return False
        return self.spec.is_class

    def renewed(self, error: Exception) -> None:
        """The object was made anew."""
        self._tell(RESTARTED, f"its handler raised {error!r}")

    def log_end(self, error: Exception) -> None:
        """Of ``on_stop``, whose exceptions change nothing."""
        _log.error("actor '%s': its on_stop failed", self.name, exc_info=error)

    @property
    def complaint(self) -> str:
        """What the log says of a message that failed."""
        return f"actor '{self.name}': a message failed"


def _nothing() -> None:
    return None

"""A bar that shows how a loop over messages gets on: by tqdm, in terminals and notebooks."""

from __future__ import annotations

import importlib
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from . import _core
from ._broker import stats
from ._consumer import Consumer
from ._errors import Error
from ._server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

    from typing_extensions import Self

T = TypeVar("T")

_LOOK = 1.0  # seconds between two looks at the queue


def _bytes_of(item: object) -> int | None:
    """Payload of a message in bytes; None: it has none, as a value of a dataclass."""
    if isinstance(item, (bytes, bytearray, _core.Request)):
        return len(item)
    nbytes = getattr(item, "nbytes", None)  # of messages, arrays and memoryviews
    return nbytes if isinstance(nbytes, int) else None


class _Backlog:
    """How many messages wait in a queue. A thread asks the broker, so that a broker that is slow holds up no loop."""

    def __init__(self, endpoint: Consumer | Server) -> None:
        session = endpoint._session  # noqa: SLF001
        self._broker = session._broker  # noqa: SLF001
        self._queue = endpoint.queue
        self._group = endpoint._group if isinstance(endpoint, Consumer) else "servers"  # noqa: SLF001
        self._ended = threading.Event()
        self.waiting: int | None = None
        threading.Thread(target=self._work, name="ipcq-progress", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                self.waiting = self._look()
            except Error:
                self.waiting = None  # the broker has ended, or does not answer
            if self._ended.wait(_LOOK):
                return

    def _look(self) -> int | None:
        for queue in stats(self._broker).queues:
            if queue.name == self._queue:
                return next((group.waiting for group in queue.groups if group.name == self._group), None)
        return None

    def end(self) -> None:
        self._ended.set()


def _backlog_of(source: object) -> _Backlog | None:
    endpoint = getattr(source, "raw", source)
    return _Backlog(endpoint) if isinstance(endpoint, (Consumer, Server)) else None


class _Bar(Generic[T]):
    """A bar of tqdm with what it shows behind the count and the rate: bytes a second, and messages that wait.

    It ends with the iterator that has it. It keeps no message: that is the source's iterator's.
    """

    __slots__ = ("_backlog", "_bar", "_begin", "_bytes", "_format", "_seen", "_sized", "_thread", "_until")

    def __init__(self, source: object, tqdm: Any, options: dict[str, Any]) -> None:
        self._bar = tqdm(**options)
        self._format = tqdm.format_sizeof
        self._backlog = None if self._bar.disable else _backlog_of(source)
        self._begin = self._until = time.monotonic()
        self._bytes = self._seen = 0
        self._thread = threading.get_ident()
        self._sized = False

    def add(self, item: T) -> T:
        """Counts a message, and returns it."""
        try:
            self._count(item)
        except BaseException:
            self._end_looks()  # the traceback keeps this frame, and with it the bar
            raise
        return item

    def _count(self, item: T) -> None:
        nbytes = _bytes_of(item)
        if nbytes is not None:
            self._sized = True
            self._bytes += nbytes
        if self._bar.update(1):  # it has shown itself, and shows the words at its next turn
            now = time.monotonic()
            waiting = None if self._backlog is None else self._backlog.waiting
            self._say(self._bytes - self._seen, now - self._until, waiting)
            self._until, self._seen = now, self._bytes

    def _say(self, nbytes: int, seconds: float, waiting: int | None) -> None:
        words = [f"{self._format(nbytes / seconds, divisor=1000)}B/s"] if self._sized and seconds > 0 else []
        if waiting is not None:
            words.append(f"{waiting} waiting")
        self._bar.set_postfix_str(", ".join(words), refresh=False)

    def _end_looks(self) -> None:
        if self._backlog is not None:
            self._backlog.end()

    def __del__(self) -> None:
        """Shows the mean of all bytes a second, and ends.

        Not in another thread, where the garbage collector may run it anywhere: tqdm's lock may be held by whoever waits
        for that thread, or for ever, since an interrupt within tqdm keeps it.
        """
        if not hasattr(self, "_sized"):
            return  # it was never made
        self._end_looks()
        if threading.get_ident() != self._thread:
            self._bar.disable = True  # its own destructor would take the lock
            return
        if not self._bar.disable:
            self._say(self._bytes, time.monotonic() - self._begin, None)
            self._bar.refresh()
        self._bar.close()


class _AsyncSteps(Generic[T]):
    """The iterator of one ``async for``, which alone has the source's: both end as the loop does."""

    __slots__ = ("_bar", "_steps")

    def __init__(self, steps: AsyncIterator[T], bar: _Bar[T]) -> None:
        self._steps = steps
        self._bar = bar

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        item = await self._steps.__anext__()
        try:
            return self._bar.add(item)
        except BaseException:
            # The traceback has this frame, which keeps the source's iterator from ending with the loop.
            if isinstance(item, _core.Message) and item.held:
                item.nack()
            raise


class Progress(Generic[T]):
    """A source of messages whose loops show a bar. ``progress()`` makes one."""

    __slots__ = ("_options", "_source", "_tqdm")

    def __init__(self, source: Iterable[T] | AsyncIterable[T], tqdm: Any, options: dict[str, Any]) -> None:
        self._source = source
        self._tqdm = tqdm
        self._options = options

    def __iter__(self) -> Iterator[T]:
        # By map, which has no frame that a traceback could keep: so an exception, of the bar too, ends the source's
        # iterator while it is on its way, and that gives the message back.
        steps = iter(cast("Iterable[T]", self._source))
        return map(self._bar().add, steps)

    def __aiter__(self) -> AsyncIterator[T]:
        steps = cast("AsyncIterable[T]", self._source).__aiter__()
        return _AsyncSteps(steps, self._bar())

    def _bar(self) -> _Bar[T]:
        return _Bar(self._source, self._tqdm, self._options)

    def __repr__(self) -> str:
        return f"<ipcq.Progress over {self._source!r}>"


def progress(source: Iterable[T] | AsyncIterable[T], total: int | None = None, **options: Any) -> Progress[T]:
    """Shows a bar while a loop goes over messages: their number, messages and bytes a second, and how many wait.

    ``for message in ipcq.progress(consumer)`` and ``async for`` of it do what the loop over the consumer does: a
    message is released when the next is asked for, and **an exception gives it back**. The bar is tqdm's, on standard
    error or in a notebook, and is drawn anew when a message comes. A thread asks the broker once a second how many
    messages wait for the consumer's group: no loop waits for that.

    Args:
        source: A consumer or server, also of dataclasses; or any iterable of messages, of which nothing waits.
        total: How many messages there will be, for the time that is left; None: unknown.
        **options: Of ``tqdm.tqdm``, such as ``desc``, ``disable``, ``file``, ``leave``, ``mininterval`` (seconds).

    Raises:
        ModuleNotFoundError: tqdm is not installed.
    """
    try:
        tqdm = importlib.import_module("tqdm.auto").tqdm
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tqdm":
            raise
        raise ModuleNotFoundError(
            "ipcq.progress: tqdm, which draws its bars, is not installed: pip install tqdm, or loop without it",
            name="tqdm",
        ) from None
    return Progress(source, tqdm, {"total": total, "unit": " messages", "dynamic_ncols": True, **options})

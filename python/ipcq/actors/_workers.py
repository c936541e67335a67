"""Workers of the tiers "thread" and "async"; and what all workers have."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .._errors import Error
from ._counters import BLOCK_BYTES, Block, words_of
from ._instance import CRASHED, ENDED, READY, Instance
from ._loops import LoopThread, run
from ._work import Stop, finished, serve, serve_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._server import Server
    from .._session import Session
    from ._spec import ActorSpec

_log = logging.getLogger("ipcq")


@dataclass(frozen=True)
class Setup:
    """What a worker is to be."""

    name: str
    spec: ActorSpec
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    broker: str


class Worker(Protocol):
    """One that runs, or is about to. It tells the runtime what happens, from a thread of its own."""

    number: int
    words: memoryview
    """Its counters."""

    def start(self) -> None:
        """Begins; READY or CRASHED follows."""

    def stop(self, seconds: float) -> None:
        """Has it end with what it has in work; coroutines are cancelled after these seconds. Does not wait."""

    def join(self, timeout: float) -> bool:
        """Waits for its end. False: it goes on."""
        ...

    def settle(self) -> None:
        """Waits until a death that callers may have seen is counted; not for long."""

    def kill(self) -> None:
        """Ends it at once, as far as that can be."""

    @property
    def is_current(self) -> bool:
        """Whether the caller is a handler that it runs, or may be one: it would wait for itself."""
        ...


class _Here:
    """What the workers of this process have in common."""

    def __init__(self, number: int, setup: Setup, session: Session, told: Callable[..., None]) -> None:
        self.number = number
        self._setup = setup
        self._session = session
        self.words = words_of(bytearray(BLOCK_BYTES))
        self._told = told
        self._stop = Stop()
        self._ended = threading.Event()  # Thread.join() that Ctrl-C ends takes the thread for ended, in Python 3.11

    def stop(self, seconds: float) -> None:
        self._stop.set(seconds)

    def join(self, timeout: float) -> bool:
        return self._ended.wait(timeout)

    def settle(self) -> None:
        pass

    def _tell(self, what: str, reason: str) -> None:
        self._told(self, what, reason, None)

    def _end(self, error: BaseException | None) -> None:
        """It has ended; ``error``: why, if that is not as it should be."""
        if error is None:
            self._told(self, ENDED, "", None)
        else:
            self._told(self, CRASHED, repr(error), error)
        self._ended.set()


class InThread(_Here):
    """A worker of the tier "thread". A handler in it cannot be killed: it is left alone then, without its server."""

    def __init__(self, number: int, setup: Setup, session: Session, told: Callable[..., None]) -> None:
        super().__init__(number, setup, session, told)
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._run, name=f"{setup.name}-{number}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def kill(self) -> None:
        self._stop.set(0)
        if self._server is not None:
            self._server.close()

    @property
    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        try:
            work(self._setup, self._session, Block(self.words), self._stop, self._tell, self._opened)
        except BaseException as error:  # noqa: BLE001 - SystemExit of a handler ends the worker, and nothing else
            self._end(error)
        else:
            self._end(None)

    def _opened(self, server: Server) -> None:
        self._server = server


class InLoop(_Here):
    """A worker of the tier "async"."""

    def __init__(
        self,
        number: int,
        setup: Setup,
        session: Session,
        told: Callable[..., None],
        thread: LoopThread,
    ) -> None:
        super().__init__(number, setup, session, told)
        self._thread = thread
        self._task: Any = None

    def start(self) -> None:
        self._task = asyncio.run_coroutine_threadsafe(self._run(), self._thread.loop)

    def kill(self) -> None:
        self._stop.set(0)
        if self._task is not None:
            self._task.cancel()

    @property
    def is_current(self) -> bool:
        return self._thread.is_current  # its loop is held up, whosever handler that is

    async def _run(self) -> None:
        try:
            await work_async(self._setup, self._session, Block(self.words), self._stop, self._tell, lambda _: None)
        except BaseException as error:  # SystemExit of a handler ends the worker, and not the loop
            self._end(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._end(None)


def open_server(setup: Setup, session: Session, instance: Instance) -> Server:
    """Of the actor's queue."""
    return session.server(setup.name, schema=instance.input.schema, result_schema=instance.output.schema)


def work(
    setup: Setup,
    session: Session,
    block: Block,
    stop: Stop,
    tell: Callable[[str, str], None],
    opened: Callable[[Server], None],
) -> None:
    """A worker's life in a thread that is its own: of this process, or the main one of a process of its own."""
    if setup.spec.is_async:
        run(work_async(setup, session, block, stop, tell, opened))
        return
    instance = Instance(setup.spec, setup.name, setup.arguments, tell)
    instance.begin()
    try:
        with open_server(setup, session, instance) as server:
            opened(server)
            tell(READY, "")
            serve(server, instance, block, stop)
    finally:
        try:
            instance.end()
        except Exception as error:  # noqa: BLE001 - the worker ends all the same
            instance.log_end(error)


async def work_async(
    setup: Setup,
    session: Session,
    block: Block,
    stop: Stop,
    tell: Callable[[str, str], None],
    opened: Callable[[Server], None],
) -> None:
    """The same in an event loop."""
    instance = Instance(setup.spec, setup.name, setup.arguments, tell)
    await finished(instance.begin())
    server = open_server(setup, session, instance)
    try:
        opened(server)
        tell(READY, "")
        await serve_async(server, instance, block, stop)
    finally:
        with contextlib.suppress(Error):
            server.close()
        try:
            await finished(instance.end())
        except Exception as error:  # noqa: BLE001 - the worker ends all the same
            instance.log_end(error)

"""Workers of the tier "process": both sides of the pipe by which the runtime watches them. No message passes it."""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing import connection, reduction
from typing import TYPE_CHECKING, Any

from .._session import connect
from ._counters import BLOCK_BYTES, Block, words_of
from ._instance import CRASHED, ENDED
from ._work import Stop
from ._workers import work

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._workers import Setup

_SPAWN = multiprocessing.get_context("spawn")
_LOOK = 0.5  # seconds between two looks at the parent
_LAST_WORK = 2.0  # seconds that a worker has whose runtime has died
_SETTLE = 1.0
_STOP = "stop"


class InProcess:
    """A worker in a process of its own, started anew by spawn. A thread here starts it, and waits for its end."""

    def __init__(self, number: int, setup: Setup, told: Callable[..., None]) -> None:
        self.number = number
        self._setup = setup
        self._told = told
        self._memory = os.fdopen(os.memfd_create("ipcq-actor", os.MFD_CLOEXEC), "r+b", buffering=0)
        self._memory.truncate(BLOCK_BYTES)
        self._mapping = mmap.mmap(self._memory.fileno(), BLOCK_BYTES)
        self.words = words_of(self._mapping)
        self._mine, self._its = _SPAWN.Pipe()
        self._process: Any = None
        self._stop_for: float | None = None
        self._killed = False
        self._listens = False  # it has its setup, and the pipe is free
        self._lock = threading.Lock()  # is held for moments, and never over a wait for the process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"{setup.name}-{number}", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the process, once it was started."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        with self._lock:
            self._stop_for = seconds
            self._say_stop()

    def _say_stop(self) -> None:
        if self._listens and self._stop_for is not None:
            with contextlib.suppress(OSError):
                self._mine.send((_STOP, self._stop_for))

    def join(self, timeout: float) -> bool:
        return self._ended.wait(timeout)

    def settle(self) -> None:
        """Waits for its watcher, if it has died: a caller may know of that before the runtime does."""
        if self.pid is not None and not self._ended.is_set() and _has_died(self.pid):
            self._ended.wait(_SETTLE)

    def kill(self) -> None:
        with self._lock:
            self._killed = True
            if self._process is not None and self._process.exitcode is None:
                self._process.kill()

    @property
    def is_current(self) -> bool:
        return False

    def _watch(self) -> None:
        reason, error = "", None
        try:
            reason = self._run()
        except Exception as raised:  # noqa: BLE001 - it could not be started
            reason, error = f"it could not be started: {raised!r}", raised
        for one in (self._mine, self._its, self._memory):
            one.close()
        self._told(self, CRASHED if reason else ENDED, reason, error)
        self.words.release()
        self._mapping.close()
        self._ended.set()

    def _run(self) -> str:
        """Until the process has ended. Returns why, if that is not as it should be."""
        with self._lock:
            if self._killed or self._stop_for is not None:
                return ""
        process = _SPAWN.Process(target=_main, args=(self._its, _Descriptor(self._memory.fileno()), os.getpid()))
        process.name = f"ipcq actor {self._setup.name}"
        process.start()
        try:
            with self._lock:
                self._process = process
                if self._killed:
                    process.kill()
            self._its.close()
            self._memory.close()
            said = self._attend(process)
        except BaseException:
            process.kill()
            process.join()
            raise
        code = process.exitcode
        return said or ("" if code == 0 else _describe(code))

    def _attend(self, process: Any) -> str:
        """Until it has ended. Returns why it did, if it has said so."""
        said = ""
        ended = os.pidfd_open(process.pid)  # not the pipe's end, which a process of the worker's own may have
        try:
            with contextlib.suppress(OSError):  # it has died
                self._mine.send(self._setup)  # of any length, so not before kill() knows the process
            with self._lock:
                self._listens = True
                self._say_stop()
            while True:
                ready = connection.wait([self._mine, ended])
                if self._mine in ready:
                    try:
                        what, reason = self._mine.recv()
                    except (EOFError, OSError):
                        connection.wait([ended])
                        break
                    if what == CRASHED:
                        said = reason
                    else:
                        self._told(self, what, reason, None)
                elif ended in ready:
                    break
        finally:
            os.close(ended)
        process.join()
        for _ in range(1000):  # another thread may have reaped it, and not said so yet
            if process.exitcode is not None:
                break
            time.sleep(0.001)
        return said


def _has_died(pid: int) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(connection.wait([fd], 0))
    finally:
        os.close(fd)


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


class _Descriptor:
    """A descriptor that a process which is being spawned gets a copy of."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return (_received, (reduction.DupFd(self._fd),))


def _received(copy: Any) -> int:
    fd: int = copy.detach()
    return fd


def _main(pipe: Any, fd: int, parent: int) -> None:
    """The worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the runtime's, which ends its workers
    words = words_of(mmap.mmap(fd, BLOCK_BYTES))
    os.close(fd)

    def tell(what: str, reason: str) -> None:
        with contextlib.suppress(OSError):  # the runtime has died
            pipe.send((what, reason))

    try:
        setup = _setup_from(pipe, parent)
        os.environ["IPCQ_BROKER"] = setup.broker  # what connect() and actor_ref() in a handler mean
        stop = Stop()
        threading.Thread(target=_obey, args=(pipe, stop, parent), daemon=True).start()
        with connect(setup.broker, wait_for=5) as session:
            work(setup, session, Block(words), stop, tell, lambda _: None)
    except Exception:  # noqa: BLE001 - the runtime says it
        tell(CRASHED, traceback.format_exc(limit=-3).rstrip())
        sys.exit(1)


def _setup_from(pipe: Any, parent: int) -> Setup:
    while not pipe.poll(_LOOK):
        if os.getppid() != parent:
            os._exit(1)
    try:
        data = pipe.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
    setup: Setup = pickle.loads(data)
    return setup


def _obey(pipe: Any, stop: Stop, parent: int) -> None:
    """Ends the worker when the runtime says so, and when that has died: its end of the pipe closes, or it is gone."""
    while os.getppid() == parent:
        try:
            if pipe.poll(_LOOK):
                what, seconds = pipe.recv()
                if what == _STOP:
                    stop.set(seconds)
        except (EOFError, OSError):
            break
    stop.set(_LAST_WORK)
    time.sleep(_LAST_WORK)
    os._exit(1)

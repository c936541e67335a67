"""The bridge ``ipcq-redis`` as a child process."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import shutil
import warnings
from typing import TYPE_CHECKING

from .._errors import (
    BackendError,
    ClosedError,
    Error,
    NotFoundError,
    PermissionError,
    Status,
    SystemError,
    TimeoutError,
    UsageError,
)
from .._programs import program_path
from ._errors import BridgeError
from ._options import arguments_of, environment_of
from ._process import Process, log
from ._reports import Counters, Summary, fetch_metrics, parse_metrics, parse_summary

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._options import BridgeOptions

_PROGRAM = "ipcq-redis"
_FIRST_WORD = 30.0  # seconds until it has said where its counters are, which it does before it waits for anything
_KINDS: dict[int, type[Error]] = {2: UsageError, 3: NotFoundError, 5: PermissionError, 6: BackendError}  # by exit code


def _find_program() -> str:
    beside = program_path(_PROGRAM)
    found = str(beside) if beside.exists() else shutil.which(_PROGRAM)
    if found is None:
        raise NotFoundError(
            f"{_PROGRAM} is neither in this package ({beside}), which was built without hiredis or libevent, nor in "
            "PATH; install a wheel that has it, or build it (scripts/install-deps redis) and put its folder into PATH"
        )
    return found


class Bridge:
    """Runs ``ipcq-redis``: takes tasks out of Redis or Valkey, has a queue of calls work on them, writes results back.

    It is a process of its own, as one from a shell is, with the same promises. The call returns when it works: server,
    broker and queue have answered. What it logs goes to the logger ``ipcq.redis``, each line with its level; lines of
    level DEBUG where that logger takes them at the start. As a context manager it drains at the end, also after an
    exception and after Ctrl-C: it reads nothing more, and what runs is finished and acknowledged. A second Ctrl-C, or
    the end of ``drain_for``, ends it at once: what it had is another bridge's after ``claim_after``. If it has ended by
    itself meanwhile, with an error, the end of the block raises BridgeError.

    When this process ends or is killed, the kernel tells the program to drain, too: it outlives this process by no more
    than the work that it has. With ``die_with_parent=False`` it goes on, as a service would, with nobody who reads its
    log, until a SIGTERM. A forked child does not have the bridge.

    Args:
        queue: Of calls.
        options: See ``BridgeOptions``. What is not given comes from the variables and the file that the program reads.

    Raises:
        UsageError: A wrong option, in the program's words.
        NotFoundError: No server, broker or queue within ``wait_for``; or there is no program.
        PermissionError: Server or broker refuse access.
        BridgeError: It did not start for another reason.
    """

    def __init__(self, queue: str, **options: Unpack[BridgeOptions]) -> None:
        self._owner = os.getpid()
        self._queue = queue
        self._drain_for = options.get("drain_for")
        arguments = arguments_of(queue, options)
        if log.isEnabledFor(logging.DEBUG):
            arguments.append("--verbose")
        with_parent = options.get("die_with_parent", True)
        self._process = Process(_find_program(), arguments, environment_of(options), with_parent)
        try:
            self._wait_for_start()
        except BaseException:
            self._process.end()
            raise

    def _wait_for_start(self) -> None:
        try:
            in_time = self._process.wait_until_it_works(_FIRST_WORD)
        except OSError as error:
            raise SystemError(error.errno, f"{_PROGRAM} could not be started: {error}") from error
        if not in_time:
            raise BridgeError(f"{_PROGRAM} has said nothing within {_FIRST_WORD:.0f} s; does its file say `quiet`?")
        code = self._process.exit_code
        if code is not None and not self._process.has_worked:
            words = self._last_words()
            raise _KINDS[code](words) if code in _KINDS and words else self._error(words)

    def _last_words(self) -> str:
        return "\n".join(line for line in self._process.said if not line.startswith("Run with --help"))

    def _error(self, words: str) -> BridgeError:
        code = self._process.exit_code or 0
        text = f"queue '{self._queue}': {_PROGRAM} ended with exit code {code}"
        return BridgeError(f"{text}: {words}" if words else text, code)

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._queue

    @property
    def pid(self) -> int:
        """Of the program's process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._process.has_ended

    @property
    def metrics_url(self) -> str:
        """Where it serves its counters for Prometheus."""
        return self._process.url

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it has ended by itself (``until_empty``), and returns its exit code.

        Negative: the number of the signal that has killed it. Does not tell it to end: ``stop()`` does.

        Args:
            timeout: Seconds; None: without limit.

        Raises:
            TimeoutError: It runs on.
        """
        self._refuse_fork()
        if not self._process.wait(timeout):
            raise TimeoutError(f"queue '{self._queue}': {_PROGRAM} runs on after {timeout} s", Status.TIMEOUT)
        code = self._process.exit_code
        assert code is not None
        return code

    def stop(self, timeout: float | None = None) -> bool:
        """Drains and ends it: it reads nothing more, and what runs is finished and acknowledged.

        Args:
            timeout: Seconds that this may take; None: as long as the work takes. Then it is ended at once, which takes
                half a second, or five where it does not answer.

        Returns:
            Whether it has finished all that it had. What it had not is another bridge's after ``claim_after``. Of one
                that had ended before: whether that was without an error.
        """
        self._refuse_fork()
        self._process.stop()
        try:
            in_time = self._process.wait(timeout)
        except UsageError:
            raise
        except BaseException:  # such as a second Ctrl-C
            self._process.end()
            raise
        if not in_time:
            self._process.end()
        return self._process.exit_code == 0

    def counters(self) -> Counters:
        """What it has done so far. Asks the program, over HTTP on this host.

        Raises:
            ClosedError: It has ended; ``summary()`` has its sums.
            TimeoutError: It does not answer within five seconds.
        """
        try:
            if self.is_running:
                return parse_metrics(fetch_metrics(self._process.url))
        except (OSError, http.client.HTTPException) as error:
            if self._process.wait(0.2):
                raise self._closed() from error
            text = f"queue '{self._queue}': {_PROGRAM} does not answer at {self._process.url}: {error}"
            raise TimeoutError(text, Status.TIMEOUT) from error
        raise self._closed()

    def _closed(self) -> ClosedError:
        return ClosedError(f"queue '{self._queue}': {_PROGRAM} has ended; summary() has what it has done")

    def summary(self) -> Summary:
        """What it has done from its start to its end.

        Raises:
            UsageError: It runs.
            BridgeError: It was killed, or has failed, before it could say so.
        """
        if self.is_running:
            raise UsageError(f"queue '{self._queue}': {_PROGRAM} runs; counters() has what it has done so far")
        summary = parse_summary(self._process.output)
        if summary is None:
            raise self._error(self._last_words())
        return summary

    def _refuse_fork(self) -> None:
        if os.getpid() != self._owner:
            raise UsageError(
                f"queue '{self._queue}': this bridge belongs to process {self._owner}, not to a fork of it"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() != self._owner:
            return
        has_ended = self._process.has_ended and not self._process.was_told_to_stop
        self.stop(self._drain_for)
        if has_ended and self._process.exit_code != 0 and kind is None:
            raise self._error(self._last_words())

    def __del__(self) -> None:
        process = getattr(self, "_process", None)  # not there where its options were wrong
        if process is not None and os.getpid() == self._owner and not process.has_ended:
            with contextlib.suppress(Exception):
                process.stop()
            warnings.warn(f"{self!r} was dropped and not stopped; it drains", ResourceWarning, stacklevel=2)

    def __repr__(self) -> str:
        state = f"process {self.pid}" if self.is_running else "ended"
        return f"<ipcq.redis.Bridge of '{self._queue}', {state}>"

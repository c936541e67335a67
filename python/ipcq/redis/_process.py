"""The program as a child process, and the thread that starts it, logs what it says and waits for its end.

The thread starts it, since the kernel sends the signal for the parent's death when the thread that has started a child
ends, and not only its process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from .._errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger("ipcq.redis")

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_LINE = re.compile(rf"ipcq-redis: ({'|'.join(_LEVELS)}): (.*)", re.DOTALL)
_COUNTERS = re.compile(r"counters: (http://\S+)")
_WORKING = re.compile(r"queue '.*': working on ")
_MOST_SAID = 20  # lines that an exception quotes
_AGAIN = 0.3  # seconds between signals: the program takes those within 0.2 s for one
_LAST_WAIT = 5.0  # seconds for a program that was told to end at once

# Runs in an interpreter of its own, which the program replaces. Its process gets a SIGTERM when the thread that has
# started it ends. 1 is PR_SET_PDEATHSIG.
_LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Process:
    """One run of ``ipcq-redis``. Thread-safe."""

    def __init__(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str], with_parent: bool
    ) -> None:
        command = [program, *arguments]
        if with_parent:
            if not sys.executable:
                raise UsageError("bridge: there is no sys.executable to start it with; give die_with_parent=False")
            command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
        self._command = command
        self._environment = environment
        self._failure: Exception | None = None
        self._lock = threading.Lock()  # of the next three
        self._pidfd = -1
        self._told_to_stop = False
        self._exit_code: int | None = None
        self.pid = 0
        self.url = ""  # of its counters
        self.said: list[str] = []  # its last errors, or lines that are no log
        self.output = ""
        self.is_quiet = True  # has not said where its counters are
        self._changed = threading.Event()  # it has started, said where its counters are, works, or has ended
        self._works = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._attend, name="ipcq-redis", daemon=True)
        self._thread.start()

    # By the thread.

    def _attend(self) -> None:
        try:
            with self._started() as process:
                self._read(process)
                process.wait()
            code = process.returncode
        except Exception as error:  # noqa: BLE001 - it could not be started
            self._failure = error
            code = 1
        with self._lock:
            self._exit_code = code
            if self._pidfd >= 0:
                os.close(self._pidfd)
            self._pidfd = -1
        self._ended.set()
        self._changed.set()

    def _started(self) -> subprocess.Popen[str]:
        # In a session of its own: a terminal's Ctrl-C is for this process, which then lets it drain. Had it got that,
        # too, the signal to drain would be its second one, which ends it at once.
        process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        with self._lock:
            self.pid = process.pid
            with contextlib.suppress(ProcessLookupError):
                self._pidfd = os.pidfd_open(process.pid)
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        assert process.stdout is not None
        level = logging.ERROR  # of lines that are no log, such as what its C library says at its end
        for line in process.stderr:
            found = _LINE.match(line.rstrip("\n"))
            text = found[2] if found else line.rstrip("\n")
            level = _LEVELS[found[1]] if found else level
            if found is None or level >= logging.ERROR:
                self.said = [*self.said[1 - _MOST_SAID :], text]
            self._note(text)
            with contextlib.suppress(Exception):  # of a filter: its lines must be read all the same
                log.log(level, "%s", text)
        self.output = process.stdout.read()  # short: it never fills the pipe

    def _note(self, text: str) -> None:
        if self._works:
            return
        if counters := _COUNTERS.match(text):
            self.url = counters[1]
            self.is_quiet = False
            self._changed.set()
        elif _WORKING.match(text):
            self._works = True
            self._changed.set()

    # By others.

    @property
    def exit_code(self) -> int | None:
        """None: it runs."""
        with self._lock:
            return self._exit_code

    @property
    def has_worked(self) -> bool:
        """Whether it has been ready for tasks."""
        return self._works

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    @property
    def was_told_to_stop(self) -> bool:
        with self._lock:
            return self._told_to_stop

    def wait_until_it_works(self, patience: float) -> bool:
        """Until it works or has ended; False: it has said nothing within its time.

        Raises:
            OSError: It could not be started.
        """
        while not self._works and not self.has_ended:
            self._changed.clear()
            if self._works or self.has_ended:
                break
            if not self._changed.wait(patience if self.is_quiet else None) and self.is_quiet:
                return False
        if self._failure is not None:
            raise self._failure
        return True

    def wait(self, timeout: float | None) -> bool:
        """Whether it has ended within the time."""
        if threading.current_thread() is self._thread:
            raise UsageError("bridge: a logging handler cannot wait for its end: it is called by who waits for it")
        return self._ended.wait(timeout)

    def stop(self) -> None:
        """Lets it drain. A second call changes nothing."""
        with self._lock:
            if not self._told_to_stop:
                self._told_to_stop = True
                self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Ends it at once, and waits for that."""
        for _ in range(int(_LAST_WAIT / _AGAIN)):
            with self._lock:
                self._told_to_stop = True
                self._signal(signal.SIGTERM)
            if self.wait(_AGAIN):
                return
        with self._lock:
            self._signal(signal.SIGKILL)
        self.wait(_LAST_WAIT)

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

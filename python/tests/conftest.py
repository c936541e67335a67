"""A broker of its own for each test, and processes that are waited for and tell what they saw.

Nothing here waits without a bound. A wait that passes it fails the test, and the state of every queue is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import importlib
import itertools
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ipcq
import pytest

WAIT = 20.0  # seconds; only a test that fails waits so long
HANG = 90.0  # seconds after which a test that cannot be interrupted ends the run: a call holds the GIL, say

_PRELUDE = """\
import os, signal, sys, threading, time
import ipcq
def say(*what): os.write(1, (" ".join(map(str, what)) + "\\n").encode())  # whole lines of threads and signal handlers
name = sys.argv[1] if len(sys.argv) > 1 else ""
"""
_numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    config.ipcq_stderr = os.dup(2)  # type: ignore[attr-defined]  # before pytest puts a file in its place


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.ipcq_stderr)  # type: ignore[attr-defined]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.ipcq_failed = report.failed  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def run_directory() -> Iterator[Path]:
    """Brokers of the tests are in a run directory of their own, so that those of the user are none of them."""
    path = Path(tempfile.mkdtemp(prefix="ipcq-"))  # short: a socket's address has 107 bytes
    before = {key: os.environ.get(key) for key in ("XDG_RUNTIME_DIR", "IPCQ_BROKER")}
    os.environ["XDG_RUNTIME_DIR"] = str(path)
    os.environ.pop("IPCQ_BROKER", None)
    yield path
    for key, value in before.items():
        os.environ.pop(key, None)
        if value is not None:
            os.environ[key] = value
    shutil.rmtree(path, ignore_errors=True)
    for segment in Path("/dev/shm").glob(f"ipcq+*+py{os.getpid()}-*"):  # of brokers that a failing test has killed
        segment.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _end_of_hangs(request: pytest.FixtureRequest) -> Iterator[None]:
    faulthandler.dump_traceback_later(HANG, exit=True, file=request.config.ipcq_stderr)  # type: ignore[attr-defined]
    yield
    faulthandler.cancel_dump_traceback_later()


def dump_all(broker: str) -> str:
    """State of all queues of a broker, as text."""
    try:
        return "\n".join(ipcq.dump(one.name, broker=broker) for one in ipcq.stats(broker).queues)
    except ipcq.Error as error:
        return f"no state of broker '{broker}': {error}"


@pytest.fixture
def name() -> str:
    """Name of this test's broker."""
    return f"py{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def broker(name: str, request: pytest.FixtureRequest) -> Iterator[ipcq.Broker]:
    """An embedded broker with the queue ``q``: four slots of 4096 bytes."""
    broker = ipcq.Broker(name)
    broker.create("q", slots=4, slot_bytes=4096)
    yield broker
    if getattr(request.node, "ipcq_failed", False):
        print(dump_all(name))
    broker.stop()


@pytest.fixture
def session(broker: ipcq.Broker, name: str) -> Iterator[ipcq.Session]:
    """A session of that broker, which closes what the test leaves open."""
    assert broker is not None
    with ipcq.connect(name) as session:
        yield session


def queue_stats(broker: ipcq.Broker, queue: str = "q") -> ipcq.QueueStats:
    return next(one for one in broker.stats().queues if one.name == queue)


def group_stats(broker: ipcq.Broker, group: str = "default", queue: str = "q") -> ipcq.GroupStats:
    return next(one for one in queue_stats(broker, queue).groups if one.name == group)


def eventually(condition: Callable[[], object], what: str) -> None:
    """Waits until a condition holds, which it may do a moment later than what brings it about."""
    deadline = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {WAIT:.0f} s: {what}")
        time.sleep(0.005)


class InThread(threading.Thread):
    """Runs a call; ``result()`` waits for it, and returns or raises what the call did."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)  # one that hangs must not keep the run from ending
        self._call = call
        self._error: BaseException | None = None
        self._value: object = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = WAIT) -> object:
        self.join(timeout)
        if self.is_alive():
            pytest.fail(f"a call in a thread has not returned within {timeout:.0f} s")
        if self._error is not None:
            raise self._error
        return self._value


class Child:
    """A process that runs a script. ``line()`` is what it says next, ``finish()`` waits for its end."""

    def __init__(self, broker: str, arguments: list[str]) -> None:
        self._broker = broker
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - finish() closes it
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def _fail(self, what: str) -> None:
        state = dump_all(self._broker)
        self.process.kill()
        self.process.wait()
        pytest.fail(f"{what}\nits stderr:\n{self.stderr()}\n{state}")

    def line(self) -> str:
        try:
            line = self._lines.get(timeout=WAIT)
        except queue.Empty:
            self._fail(f"the process has said nothing for {WAIT:.0f} s")
        if line is None:
            self._fail("the process has ended and not said what was expected")
        assert line is not None
        return line

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self, code: int | None = 0) -> tuple[str, str]:
        """Waits for its end, checks its exit code (None: any), and returns the rest of its output and its errors."""
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self._fail(f"the process has not ended within {WAIT:.0f} s")
        self._reader.join(WAIT)
        rest = []
        while not self._lines.empty():
            line = self._lines.get()
            rest += [] if line is None else [line]
        if code is not None and self.process.returncode != code:
            self._fail(f"exit code {self.process.returncode} instead of {code}; it said {rest}")
        return "\n".join(rest), self.stderr()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._errors.close()


@pytest.fixture
def start(name: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Child]]:
    """Starts a script in a process of its own: ``start(source, *interpreter_options)``.

    The script has ``ipcq``, the broker's ``name`` and ``say()``, whose lines ``Child.line()`` returns.
    """
    children: list[Child] = []

    def start(source: str, *options: str) -> Child:
        script = _PRELUDE + textwrap.dedent(source)
        children.append(Child(name, [sys.executable, *options, "-c", script, name]))
        return children[-1]

    yield start
    if getattr(request.node, "ipcq_failed", False):
        print(dump_all(name))
    for child in children:
        child.end()


def library(name):
    """A framework, or a skip that says why."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed")
    except AttributeError as error:  # of a release that does not go with this NumPy
        pytest.skip(f"{name} cannot be imported: {error}")


@pytest.fixture
def torch():
    return library("torch")


def gpu_or_skip(not_played: str = "", *, whole_module: bool = False) -> ipcq.Device:
    """GPU 0; ``not_played``: why the one that is played by the CPU does not do."""
    try:
        device = ipcq.device(0)
    except ipcq.BackendError as error:
        pytest.skip(f"no GPU: {error}", allow_module_level=whole_module)
    if not_played and device.name == "soft GPU":
        pytest.skip(not_played, allow_module_level=whole_module)
    return device


@pytest.fixture
def gpu():
    return gpu_or_skip("frameworks do not run on the played GPU")


def _new_uvloop():
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    return uvloop.new_event_loop()


@pytest.fixture(params=[asyncio.new_event_loop, _new_uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., object]]:
    """Runs a coroutine in a loop of its kind, for a bounded time."""
    loops = []

    def run(coroutine):
        loop = request.param()
        loops.append(loop)
        return loop.run_until_complete(asyncio.wait_for(coroutine, WAIT))

    yield run
    for loop in loops:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def some_steps():
    """Lets tasks that were started come to their waits."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def ask(broker, session):
    """A queue of calls, and a client and a server of it."""
    broker.create("ask", slots=16, slot_bytes=8192, calls=8)
    with session.client("ask", reply_bytes=8000) as client, session.server("ask") as server:
        yield client, server


@contextlib.contextmanager
def serving(server, function):
    thread = threading.Thread(target=server.serve, args=(function,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.close()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def runtime(name):
    """Of actors, with a broker within this process."""
    from ipcq.actors import _links

    with ipcq.Broker(name) as broker:
        with ipcq.ActorRuntime(broker) as runtime:
            yield runtime
        _links.drop_session(broker.socket_path)


@pytest.fixture(params=["thread", "process", "async"])
def launch(request, runtime):
    """Launches an actor in the tier that is tested."""

    def launch(actor, name="", **options):
        return runtime.launch(actor, name, **{"tier": request.param, **options})

    return launch

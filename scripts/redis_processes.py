"""What scripts/demo_redis.py and scripts/soak-redis start: a Redis server, brokers and bridges.

Here so that both start and end programs in one way: each in a process group of its own with a log of its own, no wait
without an end, and nothing stays when the script has gone. Brokers get a run directory each, as on hosts of their own.
"""
import contextlib
import glob
import os
import select
import signal
import subprocess
import sys
import time

from redis_wire import Connection, RedisError

PATIENCE = 60  # seconds for what must end, answer or go on by itself
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Trouble(Exception):
    """What ends the script, with a message for its user."""


def end_on_signals():
    """SIGINT, SIGTERM and SIGHUP end the script as exceptions do, so that `finally` cleans up."""
    for number in SIGNALS:
        signal.signal(number, lambda n, _: sys.exit(128 + n))


class Process:
    def __init__(self, name, popen, log):
        self.name, self.popen, self.log = name, popen, log
        self.pid = popen.pid

    def is_running(self):
        return self.popen.poll() is None

    def kill(self):
        """SIGKILL, of this process and not of those that it has started."""
        self.popen.kill()
        self.popen.wait()

    def end(self, patience=PATIENCE):
        """The exit code after SIGINT; None where it had to be killed."""
        self.popen.send_signal(signal.SIGCONT)
        self.popen.send_signal(signal.SIGINT)
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def tail(self, size=1500):
        with open(self.log, "rb") as f:
            return f.read()[-size:].decode(errors="replace").strip()


class Processes:
    def __init__(self, directory):
        self.directory = directory
        self.all = []
        os.makedirs(os.path.join(directory, "ipcq"), exist_ok=True)
        for name in ("broker.toml", "redis.toml"):  # instead of those of the user and of the machine
            with open(self.path(os.path.join("ipcq", name)), "w") as f:
                f.write("# no option\n")

    def path(self, name):
        return os.path.join(self.directory, name)

    def environment(self, **more):
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith("IPCQ_") or name in ("IPCQ_HOST_RUNNER", "IPCQ_COMPILER", "IPCQ_CXX")}
        return {**kept, "XDG_CONFIG_HOME": self.directory, **more}

    def start(self, name, command, environment=None, output=None, pass_fds=()):
        """Its stderr goes to NAME.log; so does stdout, unless `output` names another file."""
        log = self.path(f"{name}.log")
        with open(log, "ab") as errors, contextlib.ExitStack() as opened:
            out = opened.enter_context(open(self.path(output), "ab")) if output else errors
            popen = subprocess.Popen(command, env=environment or self.environment(), stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=errors, pass_fds=pass_fds, start_new_session=True)
        self.all.append(Process(name, popen, log))
        return self.all[-1]

    def left_of(self, process):
        """The processes of its group, as its own ones and those that it has started are, which have not ended."""
        left = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                state, _, group = f.read().rpartition(")")[2].split()[:3]
                if int(group) == process.pid and state not in "ZX":
                    left.append(int(name))
        return left

    def kill_all(self):
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for process in self.all:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.popen.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class RedisServer:
    """One on a unix socket alone, whose append-only file outlives its process."""

    def __init__(self, processes, appendfsync):
        self.processes, self.appendfsync = processes, appendfsync
        self.socket = processes.path("redis.sock")
        if len(os.fsencode(self.socket)) > 107:
            raise Trouble(f"{self.socket}: a socket's path has 107 bytes at most; set TMPDIR to a shorter one")
        self.process = None

    @property
    def url(self):
        return f"unix://{self.socket}"

    def start(self):
        self.process = self.processes.start("redis", [
            "redis-server", "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700", "--dir",
            self.processes.directory, "--save", "", "--appendonly", "yes", "--appendfsync", self.appendfsync])

    def connect(self, patience=PATIENCE):
        """A connection, as soon as the server has read its file."""
        until = time.monotonic() + patience
        while True:
            try:
                connection = Connection(self.socket, timeout=patience)
                try:
                    connection.call("PING")
                    return connection
                except (OSError, RedisError):
                    connection.close()
                    raise
            except (OSError, RedisError) as error:
                if not self.process.is_running() or time.monotonic() > until:
                    raise Trouble(f"redis-server does not answer: {error}\n{self.process.tail()}") from error
            time.sleep(0.01)


class Broker:
    """A broker with one queue in a run directory of its own; it may be started again after its death."""

    def __init__(self, processes, programs, name, run_directory, spec, backend="host"):
        self.processes, self.programs, self.name, self.spec = processes, programs, name, spec
        self.backend = backend
        self.run_directory = processes.path(run_directory)
        os.makedirs(self.run_directory, mode=0o700, exist_ok=True)
        self.environment = processes.environment(XDG_RUNTIME_DIR=self.run_directory)
        self.process = None

    def start(self):
        """Returns at once, before clients can attach."""
        self.start_program([])

    def start_and_wait(self):
        ready, said = os.pipe()
        with os.fdopen(ready, "rb", buffering=0) as pipe:
            try:
                self.start_program([said])
            finally:
                os.close(said)
            if not select.select([pipe], [], [], PATIENCE)[0] or pipe.read(1) != b"\n":
                raise Trouble(f"the broker {self.name} did not start:\n{self.process.tail()}")

    def start_program(self, ready):
        command = [os.path.join(self.programs, "ipcq-broker"), "--name", self.name, "--backend", self.backend,
                   "--queue", self.spec]
        if ready:
            command += ["--ready-fd", str(ready[0])]
        self.process = self.processes.start(f"broker-{self.name}", command, self.environment, pass_fds=ready)

    def start_bridge(self, server, name, queue, options):
        """An ipcq-redis at this broker; its summary goes to NAME.json."""
        command = [os.path.join(self.programs, "ipcq-redis"), "--redis", server.url, "--broker", self.name, "--queue",
                   queue, "--json", "--wait-for", str(PATIENCE // 2), *options]
        return self.processes.start(name, command, self.environment, output=f"{name}.json")

    def shared_memory(self):
        """What there is of it in the file system."""
        return glob.glob(f"/dev/shm/*+{glob.escape(self.name)}+*")

    def clean(self):
        """Removes what it has left there when it was killed. `ipcq clean` would do so for all brokers of this user."""
        for path in self.shared_memory():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def left_in(connection, stream, group):
    """What there is still to do: entries not delivered, pending and delayed, and those done, at one moment."""
    replies = connection.pipeline([["MULTI"], ["XINFO", "STREAM", stream], ["XINFO", "GROUPS", stream],
                                   ["ZCARD", f"{stream}:delayed"], ["XLEN", f"{stream}:results"], ["EXEC"]])
    if isinstance(replies[-1], RedisError):
        raise replies[-1]
    for reply in replies[-1]:
        if isinstance(reply, RedisError):
            raise reply
    about, groups, delayed, results = replies[-1]
    of_stream = dict(zip(about[::2], about[1::2]))
    for entry in groups:
        of_group = dict(zip(entry[::2], entry[1::2]))
        if of_group[b"name"] == group.encode():
            return {"undelivered": int(of_group[b"last-delivered-id"] != of_stream[b"last-generated-id"]),
                    "pending": of_group[b"pending"], "delayed": delayed, "results": results}
    raise Trouble(f"stream '{stream}' has no group '{group}'")


def is_empty(left):
    return left["undelivered"] + left["pending"] + left["delayed"] == 0


def state_of(connection, stream, group):
    """For a message about what hangs."""
    lines = []
    for command in (["XLEN", stream], ["XLEN", f"{stream}:results"], ["XLEN", f"{stream}:dead"],
                    ["ZCARD", f"{stream}:delayed"], ["XPENDING", stream, group], ["XINFO", "GROUPS", stream],
                    ["XINFO", "CONSUMERS", stream, group]):
        try:
            lines.append(f"{' '.join(command)}: {connection.pipeline([command])[0]}")
        except OSError as error:
            lines.append(f"{' '.join(command)}: {error}")
            break
    return "\n".join(lines)


def entries_of(connection, stream, page=1000):
    """All entries of a stream, as (id, fields), in pages."""
    begin = "-"
    while True:
        entries = connection.call("XRANGE", stream, begin, "+", "COUNT", page)
        for entry, fields in entries:
            yield entry, fields
        if len(entries) < page:
            return
        begin = b"(" + entries[-1][0]

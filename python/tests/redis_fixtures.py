"""A Redis server of its own for each test, and queues whose tasks bridges bring."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import ipcq
import ipcq.redis
import pytest
from conftest import WAIT, library, serving


class Server:
    """A redis-server that listens on a Unix socket alone."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.socket = folder / "r.sock"  # short: its address has 107 bytes
        self.url = f"unix://{self.socket}"
        self._redis = library("redis")
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self._log = (folder / "redis.log").open("w+")
        command = [
            program,
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--dir",
            str(folder),
            *options,
        ]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)
        self._clients: list[Any] = []
        deadline = time.monotonic() + WAIT
        while not self.socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"redis-server has not started: {self.log()}")
            time.sleep(0.005)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def client(self, **options):
        self._clients.append(self._redis.Redis(unix_socket_path=str(self.socket), **options))
        return self._clients[-1]

    def async_client(self, **options):
        """To be closed by the test, in its loop."""
        return self._redis.asyncio.Redis(unix_socket_path=str(self.socket), **options)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._process.kill()
        self._process.wait()
        self._log.close()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def client(server):
    return server.client()


@pytest.fixture
def work(name):
    """A broker with the queue ``work``, whose handler makes letters large."""
    with ipcq.Broker(name) as broker:
        broker.create("work", slots=16, slot_bytes=8192, calls=16, handler="upper", backend="host")
        yield broker


@pytest.fixture
def asked(name):
    """Makes a queue ``work`` whose tasks a function answers, until the end of the test."""
    broker = ipcq.Broker(name)
    broker.create("work", slots=16, slot_bytes=8192, calls=16)
    session = ipcq.connect(name)
    contexts = []

    def asked(function):
        contexts.append(serving(session.server("work"), function))
        contexts[-1].__enter__()

    yield asked
    for context in contexts:
        context.__exit__(None, None, None)
    session.close()
    broker.stop()


@pytest.fixture
def bridge(name, server):
    """Makes a bridge from the stream ``tasks`` to the queue ``work``. Those that the test leaves are ended at once."""
    bridges = []

    def bridge(**options):
        options = {"streams": ["tasks"], "redis": server.url, "broker": name, "poll": 0.05, **options}
        bridges.append(ipcq.redis.Bridge("work", **options))
        return bridges[-1]

    yield bridge
    for one in bridges:
        one.stop(0)


def read(client, key="tasks"):
    """Fields of a stream's entries."""
    return [fields for _, fields in client.xrange(key)]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

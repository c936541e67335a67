"""In a notebook: cells of an IPython kernel, whose loop runs already, and which shows and keeps what they return."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import sys
import textwrap
import time

import pytest
from conftest import WAIT

pytest.importorskip("ipykernel", reason="ipykernel is not installed: it runs the cells")
jupyter_client = pytest.importorskip("jupyter_client", reason="jupyter_client is not installed: it talks to the kernel")

START = 40.0  # seconds that a kernel may take to begin


class Notebook:
    """A kernel, and what its cells say."""

    def __init__(self, manager, client):
        self.manager = manager
        self._client = client

    def start(self, source):
        return self._client.execute(textwrap.dedent(source))

    def result(self, cell, limit=WAIT, until=None):
        """What a cell printed, the text of its last value, and its error (name, text); `until`: it has printed that."""
        printed, value, error = "", "", None
        deadline = time.monotonic() + limit
        while True:
            try:
                said = self._client.get_iopub_msg(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"a cell has not ended within {limit:.0f} s; it printed {printed!r}")
            if said["parent_header"].get("msg_id") != cell:
                continue
            kind, content = said["msg_type"], said["content"]
            if kind == "stream":
                printed += content["text"]
                if until is not None and until in printed:
                    return printed, value, error
            elif kind == "execute_result":
                value = content["data"]["text/plain"]
            elif kind == "error":
                error = (content["ename"], content["evalue"])
            elif kind == "status" and content["execution_state"] == "idle":
                return printed, value, error

    def run(self, source):
        printed, value, error = self.result(self.start(source))
        assert error is None, (error, printed)
        return value or printed

    def error(self, source):
        printed, _, error = self.result(self.start(source))
        assert error is not None, printed
        return error


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernel")
    environment = {**os.environ, "IPYTHONDIR": str(folder), "JUPYTER_PLATFORM_DIRS": "1"}
    sockets = {"transport": "ipc", "ip": str(folder / "kernel")}  # no ports
    manager = jupyter_client.KernelManager(connection_file=str(folder / "kernel.json"), **sockets)
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.start_kernel(env=environment, cwd=folder)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=START)
        yield Notebook(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def notebook(kernel, name):
    """The kernel with a broker, a session and the queue `q`; what a test leaves is closed."""
    kernel.run(f"""
        import asyncio, ipcq
        broker = ipcq.Broker("{name}")
        broker.create("q", slots=4, slot_bytes=4096)
        broker.create("ask", slots=4, slot_bytes=4096, calls=4)
        session = ipcq.connect("{name}")
        producer, consumer = session.producer("q"), session.consumer("q")
        """)
    yield kernel
    kernel.run("%reset -f\nimport gc; gc.collect()")


def test_a_cell_sends_and_receives(notebook):
    assert notebook.run('producer.send(b"one"); consumer.receive_bytes(timeout=5)') == "b'one'"


def test_a_cell_awaits_in_the_loop_that_runs_already(notebook):
    assert (
        notebook.run("""
        waiting = asyncio.create_task(consumer.receive_async(timeout=20))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await producer.send_async(b"two")
        with await waiting as message:
            print(bytes(message))
        """)
        == "b'two'\n"
    )
    assert (
        notebook.run("""
        await producer.send_async(b"three")
        producer.close()
        [bytes(message) async for message in consumer]
        """)
        == "[b'three']"
    )


def test_tasks_go_on_between_cells(notebook):
    notebook.run("""
        async def work():
            async for message in consumer:
                done.append(bytes(message))
        done = []
        task = asyncio.create_task(work())
        """)
    notebook.run("producer.send_many([b'a', b'b']); producer.close()")
    assert notebook.run("await asyncio.wait_for(task, 20); done") == "[b'a', b'b']"


def test_calls_are_served_and_awaited(notebook):
    assert (
        notebook.run("""
        async def answer(request):
            return bytes(request).upper()
        with session.server("ask") as server, session.client("ask") as client:
            serving = asyncio.create_task(server.serve_async(answer))
            print(await client.call(b"x", timeout=20), await client.call_async(b"y", timeout=20))
            server.close()
            await serving
        """)
        == "b'X' b'Y'\n"
    )


def test_an_interrupt_of_the_kernel_ends_a_wait_and_loses_nothing(notebook):
    cell = notebook.start("print('waits', flush=True); consumer.receive()")
    notebook.result(cell, until="waits")
    time.sleep(0.1)  # it is in the call by now; where it is not, the interrupt comes before it
    notebook.manager.interrupt_kernel()
    assert notebook.result(cell)[2] == ("KeyboardInterrupt", "")
    assert notebook.run("producer.send(b'after'); consumer.receive_bytes(timeout=5)") == "b'after'"


def test_an_exception_in_a_cells_loop_gives_the_message_back(notebook):
    """Though IPython keeps the traceback."""
    notebook.run("producer.send_many([b'1' * 1000, b'2' * 1000])")
    assert notebook.error("for message in consumer:\n    1 / 0")[0] == "ZeroDivisionError"
    assert (
        notebook.run("""
        with consumer.receive(timeout=5) as again:
            print(bytes(again)[:1], again.redeliveries)
        """)
        == "b'1' 1\n"
    )


def test_a_value_that_a_cell_has_shown_keeps_its_message_and_the_text_says_so(notebook):
    pytest.importorskip("numpy", reason="NumPy is not installed: its array is shown")
    notebook.run("import numpy as np\nproducer.send(b'1' * 1000)\nmessage = consumer.receive(timeout=5)")
    assert "49" in notebook.run("np.asarray(message).copy()")  # which is no view
    notebook.run("message.release()\nproducer.send(b'1' * 1000)\nmessage = consumer.receive(timeout=5)")
    assert "49" in notebook.run("np.asarray(message)")
    assert notebook.error("message.release()")[0] == "BufferError"
    for number in range(3):
        notebook.run(str(number))  # in the place of `_`, `__` and `___`
    notebook.run("%reset -f out")
    notebook.run("message.release()")


def test_what_a_cell_shows_says_what_it_is(notebook, name):
    shown = {
        "broker": f"<ipcq.Broker at .*{name}.*>",
        "session": "<ipcq.Session>",
        "producer": "<ipcq.Producer of 'q'>",
        "consumer": "<ipcq.Consumer of 'q'>",
        "session.server('ask')": "<ipcq.Server of 'ask'>",
        "session.client('ask')": "<ipcq.Client of 'ask'>",
        "producer.send(b'x'); consumer.receive(timeout=5)": "<ipcq.Message of 'q', ticket 0, 1 bytes>",
        "producer.loan(timeout=5)": "<ipcq.Loan of 'q', 4096 bytes>",
        "session.close(); consumer": "<ipcq.Consumer of 'q', closed>",
    }
    for source, text in shown.items():
        assert re.fullmatch(text, notebook.run(source)), source


def test_a_bar_is_drawn_in_a_cell(notebook):
    pytest.importorskip("tqdm", reason="tqdm is not installed: it draws the bars")
    notebook.run(
        "import warnings; warnings.simplefilter('ignore')\nproducer.send_many([b'x' * 1000] * 3)\nproducer.close()"
    )
    assert "3/3" in notebook.run("for message in ipcq.progress(consumer, total=3): pass")


def test_a_kernel_that_restarts_leaves_nobody_waiting(kernel, name, session):
    """Its broker's clients are told; a consumer elsewhere gets what the dead kernel held."""
    kernel.run(f"import ipcq\nother = ipcq.connect('{name}')\nheld = other.consumer('q')")
    with session.producer("q") as producer:
        producer.send(b"x" * 1000)
        kernel.run("message = held.receive(timeout=5)")
        kernel.manager.restart_kernel(now=True)
        with session.consumer("q") as consumer, consumer.receive(timeout=WAIT) as again:
            assert again.redeliveries == 1
    with contextlib.suppress(RuntimeError):
        kernel._client.wait_for_ready(timeout=START)

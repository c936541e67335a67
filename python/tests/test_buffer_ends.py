"""How buffers on a GPU end: in the order of streams, by a signal, with their context, with the interpreter.

They run on a played GPU too (see driver.py).
"""

import signal
import sys
import threading
import time
from pathlib import Path

import ipcq
import pytest
from buffer_fixtures import driver, gate  # noqa: F401
from conftest import WAIT, InThread, eventually, gpu_or_skip

gpu_or_skip(whole_module=True)

BYTES = 1 << 16
SHORT = 0.05  # seconds in which nothing may happen


@pytest.fixture(scope="module")
def streams(driver):
    return [driver.stream()]


def test_memory_is_freed_when_its_last_use_is_over(driver, streams, gate):
    buffer = ipcq.Buffer((BYTES,), device=0)
    with buffer.device(streams[0], write=True) as view:
        address = view.address
        gate.stop(streams[0])
        driver.fill(address, 1, BYTES, streams[0])
    begun = time.monotonic()
    del buffer, view
    assert time.monotonic() - begun < 10  # it has not waited for the gate
    time.sleep(SHORT)
    assert driver.is_allocated(address)
    gate.open()
    eventually(lambda: not driver.is_allocated(address), "the memory is freed")


def test_a_wait_for_a_stream_is_interrupted_by_the_user(start):
    child = start(
        f"""
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from driver import Driver, Gate
        driver = Driver()
        stream = driver.stream()
        with Gate(driver) as gate, ipcq.Buffer((64,), device=0) as buffer:
            gate.stop(stream)
            with buffer.device(stream, write=True) as view:
                driver.fill(view.address, 5, 64, stream)
            for wait in (lambda: buffer.host(), buffer.synchronize, lambda: memoryview(buffer)):
                say("waits")
                try:
                    wait()
                    say("came back")
                except KeyboardInterrupt:
                    say("interrupted")
            gate.open()
            say(set(bytes(buffer)))
        """
    )
    for _ in range(3):
        assert child.line() == "waits"
        time.sleep(0.15)
        child.signal(signal.SIGINT)
        assert child.line() == "interrupted"
    assert child.line() == "{5}"
    child.finish()


def test_memory_of_a_context_that_is_gone_is_not_used(start):
    child = start(
        f"""
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from driver import Driver
        driver = Driver()
        stream = driver.stream()
        buffer, other = ipcq.Buffer((9,), device=0), ipcq.Buffer((9,), device=0)
        driver.call("cuDevicePrimaryCtxReset", 0)
        stream = Driver().stream()  # of its successor, which has the same handle
        for call in (buffer.host, lambda: buffer.host(write=True), lambda: buffer.device(stream)):
            try:
                call()
                say("came back")
            except ipcq.BackendError as error:
                say("gone" if "context of a buffer is gone" in str(error) else error)
        buffer.synchronize()  # nothing runs in it
        del buffer
        other.release()
        say(bytes(ipcq.Buffer((2,), device=0)))
        """
    )
    assert [child.line() for _ in range(4)] == ["gone"] * 3 + [repr(bytes(2))]
    child.finish()


@pytest.mark.parametrize(
    "left",
    [
        "view = buffer.device(stream); array = memoryview(buffer); cycle = [pool.get(5)]; cycle.append(cycle)",
        "gate.stop(stream); buffer.mark_device_dirty(stream); held = pool.get(5); wait(buffer.host); wait(pool.get)",
        "gate.stop(stream); buffer.mark_device_dirty(stream); del buffer; ipcq.Buffer((9,), device=0)",
    ],
    ids=["views", "waits", "memory that a stream uses"],
)
def test_the_interpreter_ends_whatever_is_left(start, left):
    child = start(
        f"""
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from driver import Driver, Gate
        driver = Driver()
        stream, gate = driver.stream(), Gate(driver)
        def wait(call):
            threading.Thread(target=call, daemon=True).start()
            time.sleep(0.1)
        pool, buffer = ipcq.BufferPool(1, (9,), device=0), ipcq.Buffer((9,), device=0)
        {left}
        say("left")
        gate.open()  # a GPU's driver waits for what runs
        """
    )
    assert child.line() == "left"
    _, errors = child.finish()
    assert errors == ""


def test_two_threads_that_end_one_view_end_it_once(streams):
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        buffer = ipcq.Buffer((64,), device=0)
        for _ in range(2000):
            view = buffer.device(streams[0], write=True)
            barrier = threading.Barrier(2, timeout=WAIT)
            calls = [InThread(lambda view=view, barrier=barrier: (barrier.wait(), view.release())) for _ in range(2)]
            for call in calls:
                call.result()
            buffer.host().release()  # refused while a view of the other side counts
        buffer.release()
    finally:
        sys.setswitchinterval(switch)

"""ipcq.Buffer between streams of a GPU, raced on purpose: a stream that stands still, then whoever must wait for it.

They run on a played GPU too (see driver.py).
"""

import ctypes
import time

import ipcq
import numpy as np
import pytest
from buffer_fixtures import driver, gate  # noqa: F401
from conftest import InThread, gpu_or_skip
from driver import Gate, tensor_of

gpu_or_skip(whole_module=True)

BYTES = 1 << 16
SHORT = 0.05  # seconds in which nothing may happen


@pytest.fixture(scope="module")
def streams(driver):
    return [driver.stream() for _ in range(7)]


@pytest.fixture
def buffer():
    with ipcq.Buffer((BYTES,), device=0) as buffer:
        yield buffer


def fill_host(buffer, value, **how):
    with buffer.host(write=True, **how) as view:
        np.asarray(view)[:] = value


def fill_device(driver, buffer, value, stream):
    with buffer.device(stream, write=True) as view:
        driver.fill(view.address, value, view.nbytes, stream)


def read_device(driver, buffer, stream):
    with buffer.device(stream) as view:
        return set(driver.read(view.address, view.nbytes, stream))


def test_a_host_read_waits_for_the_stream_that_writes(buffer, driver, streams, gate):
    gate.stop(streams[0])
    fill_device(driver, buffer, 7, streams[0])
    reader = InThread(lambda: set(bytes(buffer)))
    time.sleep(SHORT)  # in which this thread has the GIL
    assert reader.is_alive()
    gate.open()
    assert reader.result() == {7}


def test_a_host_read_that_is_bounded_gives_up(buffer, driver, streams, gate):
    gate.stop(streams[0])
    fill_device(driver, buffer, 8, streams[0])
    for timeout in (SHORT, 0):
        with pytest.raises(ipcq.TimeoutError, match="kernel before it still runs"):
            buffer.host(timeout=timeout)
    with pytest.raises(ipcq.TimeoutError, match="still use it"):
        buffer.synchronize(timeout=SHORT)
    gate.open()
    buffer.synchronize(timeout=10)
    with buffer.host(timeout=0) as view:
        assert set(bytes(view)) == {8}


def test_a_stream_reads_what_another_writes(buffer, driver, streams, gate):
    gate.stop(streams[0])
    fill_device(driver, buffer, 9, streams[0])
    with buffer.device(streams[1]) as view:  # the CPU has waited for nothing
        found = InThread(lambda: set(driver.read(view.address, BYTES, streams[1])))
        gate.open()
        assert found.result() == {9}


def test_the_host_is_written_while_kernels_read_the_device(buffer, driver, streams, gate):
    fill_host(buffer, 1)
    seen = pinned(driver, BYTES)
    buffer.to_device(streams[3])
    buffer.synchronize(timeout=10)
    with buffer.device(streams[0]) as view:
        gate.stop(streams[0])
        copy_to(driver, seen, view.address, streams[0])
    fill_host(buffer, 2, timeout=0)  # the kernel has not read yet
    buffer.to_device(streams[1])  # comes behind it
    time.sleep(SHORT)
    gate.open()
    assert read_device(driver, buffer, streams[2]) == {2}
    assert set(ctypes.string_at(seen, BYTES)) == {1}


def test_a_host_write_waits_for_the_copy_that_reads(buffer, driver, streams, gate):
    fill_host(buffer, 1)
    gate.stop(streams[0])
    buffer.to_device(streams[0])
    with pytest.raises(ipcq.TimeoutError):
        fill_host(buffer, 2, timeout=SHORT)
    with buffer.host(timeout=0) as view:  # who reads needs not wait
        assert set(bytes(view)) == {1}
    gate.open()
    fill_host(buffer, 2, timeout=10)
    assert read_device(driver, buffer, streams[1]) == {2}


def test_a_side_is_copied_once(buffer, driver, streams):
    fill_device(driver, buffer, 3, streams[0])
    assert set(bytes(buffer)) == {3}
    with buffer.host() as view:
        ctypes.memset(view.address, 4, BYTES)  # behind its back
    assert set(bytes(buffer)) == {4}
    with buffer.device(streams[0]) as view:
        assert set(driver.read(view.address, BYTES, streams[0])) == {3}


def test_a_writer_comes_behind_more_readers_than_there_are_events(buffer, driver, streams, gate):
    fill_host(buffer, 5)
    buffer.to_device(streams[-1])
    buffer.synchronize(timeout=10)
    seen = [pinned(driver, BYTES) for _ in streams[:-1]]
    for stream, into in zip(streams, seen, strict=False):
        if stream in streams[:4]:  # so many events are held up; the others' uses are over soon
            gate.stop(stream)
        with buffer.device(stream) as view:
            copy_to(driver, into, view.address, stream)
    fill_device(driver, buffer, 6, streams[-1])
    time.sleep(SHORT)
    gate.open()
    assert set(bytes(buffer)) == {6}
    buffer.synchronize(timeout=10)
    assert [set(ctypes.string_at(into, BYTES)) for into in seen] == [{5}] * len(seen)


def test_a_stream_that_dlpack_passes_is_in_the_order(buffer, driver, streams, gate):
    first, joining, last = streams[:3]
    gate.stop(first)
    with Gate(driver) as second, buffer.device(first, write=True) as view:
        driver.fill(view.address, 1, BYTES, first)
        managed, done = tensor_of(view.__dlpack__(stream=joining, max_version=(1, 0)))
        assert view.__dlpack_device__() == (managed.tensor.device_type, managed.tensor.device_id) == (2, 0)
        second.stop(joining)
        driver.fill(managed.tensor.data, 2, BYTES // 2, joining)  # behind both gates and the first
        with pytest.raises(BufferError, match="1 view is alive"):
            view.release()
        done()
        view.release()
        with buffer.device(last) as view:
            found = InThread(lambda: driver.read(view.address, BYTES, last))
            time.sleep(SHORT)
            gate.open()
            time.sleep(SHORT)
            second.open()
            assert found.result() == bytes([2]) * (BYTES // 2) + bytes([1]) * (BYTES // 2)


def test_the_array_interface_names_the_stream(buffer, streams):
    with buffer.device(streams[0], write=True) as view:
        interface = view.__cuda_array_interface__
        assert interface["data"] == (view.address, False)
        assert (interface["shape"], interface["typestr"], interface["version"]) == ((BYTES,), "|u1", 3)
        assert interface["stream"] == streams[0]
    with buffer.device(streams[0]) as view:
        assert view.__cuda_array_interface__["data"][1] is True
        with pytest.raises(BufferError, match="device"):
            view.__dlpack__(stream=-1, dl_device=(1, 0))
        with pytest.raises(BufferError, match="copy"):
            view.__dlpack__(stream=-1, copy=True)


def test_no_default_stream_is_used_by_accident(buffer, driver):
    for call in (buffer.device, buffer.mark_device_dirty):
        with pytest.raises(TypeError, match="legacy default stream"):
            call(None)
        with pytest.raises(ValueError, match="each thread"):
            call(2)
        with pytest.raises(TypeError, match="stream"):
            call("compute")
    stream = ctypes.c_void_p(driver.stream())
    driver.call("cuStreamBeginCapture", stream, 2)
    with pytest.raises(ipcq.UsageError, match="captures"):
        buffer.device(stream.value)
    driver.call("cuStreamEndCapture", stream, ctypes.byref(ctypes.c_void_p()))
    buffer.device(stream.value).release()


def test_a_capture_of_another_stream_is_not_spoiled(driver, streams):
    capturing = ctypes.c_void_p(driver.stream())
    driver.call("cuStreamBeginCapture", capturing, 0)  # in global mode
    try:
        with ipcq.Buffer((BYTES,), device=0) as buffer:
            fill_host(buffer, 4)
            fill_device(driver, buffer, 5, streams[0])
            assert set(bytes(buffer)) == {5}
    finally:
        driver.call("cuStreamEndCapture", capturing, ctypes.byref(ctypes.c_void_p()))


def test_a_message_is_copied_on_the_device(broker, session, buffer, driver, streams, gate):
    broker.create("frames", slots=4, slot_bytes=BYTES, backend="cuda")
    with session.producer("frames", cuda=True) as producer, session.consumer("frames", cuda=True) as consumer:
        with producer.loan(
            timeout=5, stream=streams[0]
        ) as slot:  # what the first calls make, they make before the gate
            slot.publish(BYTES)
        with consumer.receive(timeout=5, stream=streams[1]) as message:
            buffer.copy_from(message, streams[2])
        with producer.loan(timeout=5, stream=streams[0]) as slot:
            gate.stop(streams[0])
            driver.fill(slot.address, 3, BYTES, streams[0])
            slot.publish(BYTES)
        with consumer.receive(timeout=5, stream=streams[1]) as message:
            with pytest.raises(TypeError, match="legacy default stream"):
                buffer.copy_from(message)
            buffer.copy_from(message, streams[2])  # another than the message's
        assert buffer.state is ipcq.BufferState.DEVICE_NEWER
        gate.open()
        assert set(bytes(buffer)) == {3}
        with producer.loan(timeout=5, stream=streams[0]) as slot:
            slot.publish(16)
        with consumer.receive(timeout=5, stream=streams[1]) as message:
            with pytest.raises(ValueError, match="bytes"):
                buffer.copy_from(message, streams[1])
            with pytest.raises(ipcq.UsageError, match="device=0"):
                ipcq.Buffer((16,)).copy_from(message)


def pinned(driver, length):
    address = ctypes.c_void_p()
    driver.call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(length), 1)
    return address.value


def copy_to(driver, host, address, stream):
    driver.call(
        "cuMemcpyDtoHAsync",
        ctypes.c_void_p(host),
        ctypes.c_uint64(address),
        ctypes.c_size_t(BYTES),
        ctypes.c_void_p(stream),
    )

"""ipcq.Buffer: its rules, which are the same in host memory and on a GPU.

On a GPU they run too, a played one as well (see driver.py): by the same tests, whose streams are then real.
"""

import ctypes
import functools
import gc
import threading
from pathlib import Path

import ipcq
import numpy as np
import pytest
from buffer_fixtures import device  # noqa: F401
from conftest import InThread, queue_stats
from driver import Driver, tensor_of

SYNCED, HOST_NEWER, DEVICE_NEWER = ipcq.BufferState


class Memory:
    """Where buffers are, and how the other side is written and read as a kernel does."""

    def __init__(self, device):
        self.device = device
        self.driver = Driver() if device is not None else None
        self.stream = self.driver.stream() if self.driver else None

    def buffer(self, shape=(6,), dtype="uint8"):
        return ipcq.Buffer(shape, dtype, device=self.device)

    def fill_device(self, buffer, value, **how):
        with buffer.device(self.stream, write=True, **how) as view:
            if self.driver:
                self.driver.fill(view.address, value, view.nbytes, self.stream)
            else:
                np.from_dlpack(view).reshape(-1).view(np.uint8)[:] = value

    def read_device(self, buffer):
        with buffer.device(self.stream) as view:
            if self.driver:
                return self.driver.read(view.address, view.nbytes, self.stream)
            return np.from_dlpack(view).tobytes()


@pytest.fixture(scope="module")
def memory(device):
    return Memory(device)


@pytest.fixture
def buffer(memory):
    with memory.buffer() as buffer:
        yield buffer


def fill_host(buffer, value):
    with buffer.host(write=True) as view:
        np.asarray(view)[:] = value


def test_a_new_buffer_is_zero_on_both_sides(memory, buffer):
    assert buffer.state is SYNCED
    assert (buffer.shape, buffer.dtype, buffer.nbytes, buffer.held) == ((6,), "uint8", 6, True)
    assert (buffer.backend, buffer.gpu) == (("host", None) if memory.device is None else ("cuda", 0))
    assert bytes(memoryview(buffer)) == memory.read_device(buffer) == bytes(6)


def test_each_side_reads_what_the_other_has_written(memory, buffer):
    for value in range(1, 6):
        fill_host(buffer, value)
        assert buffer.state is HOST_NEWER
        assert memory.read_device(buffer) == bytes([value]) * 6
        assert buffer.state is SYNCED
        memory.fill_device(buffer, value + 100)
        assert buffer.state is DEVICE_NEWER
        assert np.asarray(buffer).tolist() == [value + 100] * 6
        assert buffer.state is SYNCED


def test_a_side_is_written_in_part(memory, buffer):
    memory.fill_device(buffer, 7)
    with buffer.host(write=True) as view:
        np.asarray(view)[2:4] = 1
    assert memory.read_device(buffer) == bytes([7, 7, 1, 1, 7, 7])


def test_what_is_written_whole_needs_no_copy(memory, buffer):
    memory.fill_device(buffer, 7)
    with buffer.host(write=True, keep=False) as view:
        assert buffer.state is HOST_NEWER
        if memory.device is not None:
            assert bytes(view) == bytes(6)  # the device's were not brought
        np.asarray(view)[:] = 9
    memory.fill_device(buffer, 8, keep=False)
    assert bytes(buffer) == bytes([8] * 6)


def test_transfers_are_asked_for_ahead(memory, buffer):
    fill_host(buffer, 3)
    buffer.to_device(memory.stream)
    assert buffer.state is SYNCED
    buffer.to_device()  # there is nothing to do
    memory.fill_device(buffer, 4)
    buffer.to_host()
    assert buffer.state is SYNCED
    buffer.synchronize(timeout=10)
    assert bytes(buffer) == bytes([4] * 6)


def test_a_writer_of_one_side_has_nobody_beside_it_on_the_other(memory, buffer):
    begin = {
        "read host": lambda: buffer.host(),
        "write host": lambda: buffer.host(write=True),
        "read device": lambda: buffer.device(memory.stream),
        "write device": lambda: buffer.device(memory.stream, write=True),
    }
    for first in begin:
        for second in begin:
            same_side = first.split()[1] == second.split()[1]
            both_read = first.startswith("read") and second.startswith("read")
            view = begin[first]()
            if same_side or both_read:
                begin[second]().release()
            else:
                with pytest.raises(BufferError, match="side"):
                    begin[second]()
            view.release()
            assert not view.held
    with buffer.host(write=True), pytest.raises(BufferError, match="host side"):
        buffer.to_device(memory.stream)
    with buffer.device(memory.stream, write=True), pytest.raises(BufferError, match="device side"):
        memoryview(buffer)


def test_marks_say_what_was_written_by_addresses(memory, buffer):
    buffer.mark_host_dirty()
    assert buffer.state is HOST_NEWER
    with pytest.raises(ipcq.UsageError, match="both sides were written"):
        buffer.mark_device_dirty(memory.stream)
    buffer.to_device(memory.stream)
    buffer.mark_device_dirty(memory.stream)
    with pytest.raises(ipcq.UsageError, match="both sides were written"):
        buffer.mark_host_dirty()
    assert buffer.state is DEVICE_NEWER
    with buffer.device(memory.stream), pytest.raises(BufferError):
        buffer.mark_host_dirty()
    buffer.to_host()
    buffer.mark_host_dirty()


def test_arrays_keep_their_view_and_views_their_buffer(memory):
    buffer = memory.buffer()
    with buffer.host(write=True) as view:
        array = np.asarray(view)
        with pytest.raises(BufferError, match="1 view is alive"):
            view.release()
        with pytest.raises(BufferError, match="1 view is alive"):
            buffer.release()
        del array
    _, done = tensor_of(buffer.device(memory.stream, write=True).__dlpack__(stream=-1, max_version=(1, 0)))
    with pytest.raises(BufferError, match="host"), buffer.host():
        pass
    done()  # the view has no other name
    array = np.asarray(buffer)
    with pytest.raises(BufferError):
        buffer.release()
    del array
    buffer.release()
    buffer.release()
    assert not buffer.held
    for call in (buffer.host, lambda: buffer.device(memory.stream), buffer.synchronize, buffer.to_host):
        with pytest.raises(ipcq.UsageError, match="released"):
            call()
    with pytest.raises(BufferError, match="released"):
        memoryview(buffer)


def test_a_dropped_buffer_stays_with_its_array(memory):
    array = np.asarray(memory.buffer().host(write=True))
    array[:] = 5
    gc.collect()
    assert array.tolist() == [5] * 6


def test_an_exception_ends_a_view_with_its_array(memory, buffer):
    kept = []
    with pytest.raises(KeyError), buffer.host(write=True) as view:
        kept.append(np.asarray(view))
        raise KeyError
    assert not view.held
    with pytest.raises(BufferError):
        memory.read_device(buffer)
    kept.clear()
    memory.read_device(buffer)
    with pytest.raises(KeyError), memory.buffer() as other:
        kept.append(np.asarray(other))
        raise KeyError
    assert not other.held
    assert kept[0].tolist() == [0] * 6


def test_what_reads_cannot_be_written(buffer):
    with buffer.host() as view:
        assert memoryview(view).readonly
        assert not np.asarray(view).flags.writeable
    assert memoryview(buffer).readonly
    with pytest.raises(TypeError, match="read-only"):
        memoryview(buffer)[0] = 1
    with pytest.raises((BufferError, TypeError)):
        ctypes.c_char.from_buffer(buffer)


def test_a_queue_takes_it_and_fills_it(memory, broker, session):
    broker.create("arrays", slots=4, slot_bytes=4096)
    producer, consumer = session.producer("arrays"), session.consumer("arrays")
    source, target = memory.buffer((2, 3), "int16"), memory.buffer((2, 3), "int16")
    memory.fill_device(source, 1)
    producer.send_array(source)
    with consumer.receive(timeout=5) as message:
        assert message.shape == (2, 3)
        target.copy_from(message)
    assert target.state is HOST_NEWER
    assert memory.read_device(target) == bytes([1] * 12)
    with pytest.raises(ValueError, match="12 bytes, and not 4"):
        target.copy_from(b"1234")
    target.copy_from(np.arange(12, dtype=np.int16).reshape(2, 6)[:, ::2])
    assert np.asarray(target).tolist() == [[0, 2, 4], [6, 8, 10]]
    assert queue_stats(broker, "arrays").published == 1


def test_all_shapes_and_types_are_seen(memory):
    for shape, dtype in [((), "float64"), ((0, 3), "int8"), ((2, 3, 4), "float16"), ((5,), "complex64")]:
        with memory.buffer(shape, dtype) as buffer:
            with buffer.host() as view:
                array = np.asarray(view)
                assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
                del array
            assert memory.read_device(buffer) == bytes(buffer.nbytes)
    with memory.buffer((4,), "bfloat16") as buffer:
        with pytest.raises(BufferError, match="bfloat16"):
            memoryview(buffer)
        with buffer.host() as view:
            managed, done = tensor_of(view.__dlpack__(max_version=(1, 0)))
            assert (managed.tensor.code, managed.tensor.bits, managed.flags & 1) == (4, 16, 1)
            done()
    for arguments in [((-1,),), ((2,), "text"), ((1 << 33, 1 << 33),), ((1,) * 9,)]:
        with pytest.raises(ValueError):
            ipcq.Buffer(*arguments, device=memory.device)


def test_threads_read_and_drop_it(memory):
    buffer = memory.buffer((1000,), "int32")
    fill_host(buffer, 0)

    def read(buffer):
        for _ in range(50):
            with buffer.device(memory.stream):
                pass
            assert int(np.asarray(buffer).sum()) == 0

    threads = [InThread(functools.partial(read, buffer)) for _ in range(4)]
    for thread in threads:
        thread.result()
    box = [buffer]
    del buffer
    InThread(box.clear).result()


def test_a_child_of_a_fork_is_refused(memory, start):
    child = start(
        f"""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        buffer = ipcq.Buffer((4,), device={memory.device})
        pool = ipcq.BufferPool(1, (4,), device={memory.device})
        held = pool.get()
        view = buffer.host()
        pid = os.fork()
        if pid == 0:
            refused = 0
            try:
                memoryview(view)
            except BufferError as error:
                refused += "parent" in str(error)
            calls = [buffer.host, lambda: buffer.state, buffer.release, pool.get, held.to_host, lambda: view.address]
            for call in calls:
                try:
                    call()
                except ipcq.UsageError as error:
                    refused += "parent" in str(error)
            del view, buffer, held, pool
            os._exit(refused)
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        view.release()
        buffer.release()
        say(pool.stats().held)
        """
    )
    assert child.line() == "7"
    assert child.line() == "1"
    child.finish()


def test_device_says_where_it_is():
    assert ipcq.Buffer((1,)).backend == "host"
    has_gpu = bool(_gpus())
    assert ipcq.Buffer((1,), device="auto").backend == ("cuda" if has_gpu else "host")
    with pytest.raises(ipcq.BackendError):
        ipcq.Buffer((1,), device=99)
    with pytest.raises(ValueError, match="auto"):
        ipcq.Buffer((1,), device="cuda:0")
    with pytest.raises(TypeError):
        ipcq.Buffer((1,), device=1.5)


def _gpus():
    try:
        return ipcq.devices()
    except ipcq.BackendError:
        return []


def files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_leaks_over_many_buffers(memory):
    def cycle():
        with memory.buffer((1024,)) as buffer:
            fill_host(buffer, 1)
            memory.read_device(buffer)

    cycle()
    before = files()  # a played GPU's memory has one each
    for _ in range(100):
        cycle()
    gc.collect()
    for _ in range(200):
        if files() <= before + 2:
            break
        threading.Event().wait(0.02)
    assert files() <= before + 2

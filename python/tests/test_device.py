"""Payloads in device memory: streams, DLPack and the CUDA array interface.

They run on a GPU, and on one that is played by the CPU (libcuda.so.1 of tests/soft_gpu, found by LD_LIBRARY_PATH),
whose device memory this process can read itself.
"""

import contextlib
import gc
import threading
import time

import ipcq
import numpy as np
import pytest
from buffer_fixtures import driver  # noqa: F401
from conftest import gpu_or_skip
from driver import tensor_of

DEVICE = gpu_or_skip(whole_module=True)
IS_PLAYED = DEVICE.name == "soft GPU"


@pytest.fixture(scope="module")
def streams(driver):
    return driver.stream(), driver.stream()


@pytest.fixture
def frames(broker, session, driver):
    """A queue in device memory without a handler, and its endpoints."""
    broker.create("frames", slots=4, slot_bytes=8192, backend="cuda")
    producer, consumer = session.producer("frames", cuda=True), session.consumer("frames", cuda=True)
    yield producer, consumer
    producer.close()
    consumer.close()


def test_a_frame_goes_from_stream_to_stream(frames, driver, streams):
    producer, consumer = frames
    first, second = streams
    for k in range(20):
        with producer.loan(timeout=5, stream=first) as slot:
            assert slot.__dlpack_device__() == (2, 0)
            driver.fill(slot.address, k, 4096, first)
            slot.publish(4096)
            assert not slot.held
        with consumer.receive(timeout=5, stream=second) as message:
            assert message.nbytes == len(message) == 4096
            assert message.shape == (4096,)
            assert driver.read(message.address, 4096, second) == bytes([k]) * 4096
            assert ipcq.Status(message.status) is ipcq.Status.OK
        assert not message.held


def test_an_array_is_described_on_the_device(frames, driver, streams):
    producer, consumer = frames
    stream, _ = streams
    with producer.loan(timeout=5, stream=stream, shape=(3, 5), dtype="float32") as slot:
        interface = slot.__cuda_array_interface__
        assert interface["shape"] == (3, 5)
        assert interface["typestr"] == "<f4"
        assert interface["data"] == (slot.address, False)
        assert interface["stream"] == stream
        assert interface["version"] == 3
        data = np.arange(15, dtype=np.float32).tobytes()
        driver.write(slot.address, data, stream)
        slot.publish()
    with consumer.receive(timeout=5, stream=stream) as message:
        assert (message.shape, message.dtype, message.nbytes) == ((3, 5), "float32", 60)
        assert message.__cuda_array_interface__["data"] == (message.address, True)
        assert driver.read(message.address, 60, stream) == data


def test_dlpack_capsules_have_the_payload_and_keep_it(frames, driver, streams):
    producer, consumer = frames
    stream, other = streams
    with producer.loan(timeout=5, stream=stream, shape=(2, 3, 4), dtype="int16") as slot:
        managed, done = tensor_of(slot.__dlpack__(stream=other, max_version=(1, 0)))
        assert managed.flags & 1 == 0
        driver.write(managed.tensor.data, bytes(range(48)), other)
        with pytest.raises(BufferError, match="DLPack"):
            slot.publish()
        done()
        slot.publish()
    message = consumer.receive(timeout=5, stream=stream)
    managed, done = tensor_of(message.__dlpack__(stream=other, max_version=(1, 1)))
    tensor = managed.tensor
    assert managed.major == 1
    assert managed.flags & 1 == 1  # read-only
    assert (tensor.device_type, tensor.device_id, tensor.ndim) == (2, 0, 3)
    assert (tensor.code, tensor.bits, tensor.lanes) == (0, 16, 1)
    assert tensor.shape[:3] == [2, 3, 4]
    assert tensor.strides[:3] == [12, 4, 1]
    assert tensor.data == message.address
    assert driver.read(tensor.data, 48, other) == bytes(range(48))
    with pytest.raises(BufferError, match="1 view is alive by DLPack"):
        message.release()
    assert message.held
    done()
    message.release()
    assert not message.held


def test_a_capsule_that_nobody_consumes_lets_its_payload_go(frames, streams):
    producer, consumer = frames
    stream, _ = streams
    with producer.loan(timeout=5, stream=stream) as slot:
        slot.publish(16)
    message = consumer.receive(timeout=5, stream=stream)
    capsule = message.__dlpack__(stream=-1, max_version=(1, 0))
    del capsule
    message.release()


def test_what_dlpack_cannot_have_is_refused(frames, streams):
    producer, _ = frames
    stream, _ = streams
    with producer.loan(timeout=5, stream=stream) as slot:
        with pytest.raises(BufferError, match="device"):
            slot.__dlpack__(dl_device=(1, 0))
        with pytest.raises(BufferError, match="copy"):
            slot.__dlpack__(copy=True)
        with pytest.raises(ValueError, match="ambiguous"):
            slot.__dlpack__(stream=0)
        with pytest.raises(TypeError, match="stream"):
            producer.loan(timeout=0, stream="default")


def test_a_detached_message_lives_as_long_as_its_array(frames, driver, streams, broker):
    producer, consumer = frames
    stream, _ = streams
    with producer.loan(timeout=5, stream=stream) as slot:
        driver.fill(slot.address, 9, 64, stream)
        slot.publish(64)
    with consumer.receive(timeout=5, stream=stream) as message:
        managed, done = tensor_of(message.detach().__dlpack__(stream=stream, max_version=(1, 0)))
    address = managed.tensor.data
    del message
    gc.collect()
    assert driver.read(address, 64, stream) == bytes([9]) * 64
    assert held(broker) == 1
    thread = threading.Thread(target=done)  # as a library's own thread, or the collector's
    thread.start()
    thread.join(10)
    eventually(lambda: held(broker) == 0)


def eventually(condition):
    """The release is the stream's, which tells nobody."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it has not come to be within 5 s")


def held(broker):
    return next(q for q in broker.stats().queues if q.name == "frames").groups[0].held


def test_a_loan_that_is_not_published_goes_back(frames, streams):
    producer, _ = frames
    stream, _ = streams
    for _ in range(12):
        with contextlib.suppress(KeyError), producer.loan(timeout=5, stream=stream):
            raise KeyError
    for _ in range(12):
        producer.loan(timeout=5, stream=stream)


def test_the_cpu_reads_what_a_stream_wrote(broker, session, driver, streams):
    broker.create("back", slots=4, slot_bytes=8192, backend="cuda", handler="invert")
    stream, _ = streams
    with session.producer("back", cuda=True) as producer, session.consumer("back") as consumer:
        with producer.loan(timeout=5, stream=stream, shape=(10,), dtype="uint8") as slot:
            driver.fill(slot.address, 5, 10, stream)
            slot.publish()
        with consumer.receive(timeout=20) as message:
            assert (np.asarray(message) == 250).all()
            assert message.processed


def test_the_end_of_the_stream_ends_the_loop(frames, driver, streams):
    producer, consumer = frames
    stream, _ = streams
    for k in range(3):
        with producer.loan(timeout=5, stream=stream) as slot:
            driver.fill(slot.address, k, 16, stream)
            slot.publish(16)
    producer.close()
    assert [driver.read(m.address, 16, stream)[0] for m in consumer.messages(stream)] == [0, 1, 2]


def test_nothing_is_lost_of_many(frames, driver, streams, broker):
    producer, consumer = frames
    stream, _ = streams
    for k in range(300 if IS_PLAYED else 3000):
        with producer.loan(timeout=5, stream=stream) as slot:
            driver.fill(slot.address, k % 256, 32, stream)
            slot.publish(32)
        message = consumer.receive(timeout=5, stream=stream)
        assert message.sequence == k
        if k % 50 == 0:
            assert driver.read(message.address, 32, stream) == bytes([k % 256]) * 32
        message.release()
    eventually(lambda: held(broker) == 0)
    queue = next(q for q in broker.stats().queues if q.name == "frames")
    assert queue.empty == queue.slots


def test_a_consumer_for_streams_says_what_it_does_not_do(frames, streams):
    producer, consumer = frames
    stream, _ = streams
    assert consumer.try_receive(stream) is None
    with producer.loan(timeout=5, stream=stream) as slot:
        slot.publish(16)
    with consumer.try_receive(stream) as message:
        assert message.nbytes == 16
    for call in (consumer.receive_bytes, consumer.receive_many, consumer.receive_records, consumer.fileno):
        with pytest.raises(ipcq.UsageError, match="cuda=True"):
            call()

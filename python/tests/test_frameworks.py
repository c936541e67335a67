"""PyTorch, CuPy, JAX and Numba see payloads without a copy, both ways, in the order of their streams."""

import gc

import numpy as np
import pytest
from conftest import library


@pytest.fixture
def frames(broker, session, gpu):
    assert gpu is not None
    broker.create("frames", slots=4, slot_bytes="8MiB", backend="cuda")
    with session.producer("frames", cuda=True) as producer, session.consumer("frames", cuda=True) as consumer:
        yield producer, consumer


def test_pytorch_shares_host_messages(broker, session, torch):
    broker.create("host", slots=4, slot_bytes=4096)
    with session.producer("host") as producer, session.consumer("host") as consumer:
        with producer.loan(timeout=5, shape=(3, 4), dtype="float32") as slot:
            tensor = torch.from_dlpack(slot)
            tensor.copy_(torch.arange(12).reshape(3, 4))
            with pytest.raises(BufferError):
                slot.publish()
            del tensor
            slot.publish()
        with consumer.receive(timeout=5) as message:
            tensor = torch.from_dlpack(message)
            assert tensor.shape == (3, 4)
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, torch.arange(12).reshape(3, 4).float())
            assert tensor.data_ptr() == np.asarray(message).__array_interface__["data"][0]
            with pytest.raises(BufferError):
                message.release()
            del tensor
        with producer.loan(timeout=5, shape=(8,), dtype="bfloat16") as slot:
            tensor = torch.from_dlpack(slot)
            assert tensor.dtype == torch.bfloat16
            tensor.fill_(1.5)
            del tensor
            slot.publish()
        with consumer.receive(timeout=5) as message:
            with pytest.raises(BufferError, match="bfloat16"):
                memoryview(message)
            with pytest.raises(BufferError, match="bfloat16"):
                np.asarray(message)
            assert torch.from_dlpack(message).float().sum().item() == 12
        producer.send_array(torch.arange(6, dtype=torch.int64).reshape(2, 3).numpy())
        message = consumer.receive(timeout=5).detach()
        kept = torch.from_dlpack(message)
        del message
        gc.collect()
        assert kept.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert broker.stats().queues[-1].groups[0].held + broker.stats().queues[0].groups[0].held == 1
        del kept


def test_numpy_takes_dlpack(broker, session):
    broker.create("host", slots=4, slot_bytes=4096)
    with session.producer("host") as producer, session.consumer("host") as consumer:
        producer.send_array(np.arange(5.0))
        with consumer.receive(timeout=5) as message:
            array = np.from_dlpack(message)
            assert array.tolist() == [0, 1, 2, 3, 4]
            assert not array.flags.writeable
            del array


def test_pytorch_shares_device_messages(frames, torch):
    producer, consumer = frames
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        source = torch.rand(3, 224, 224, device="cuda")
        with producer.loan(timeout=5, stream=torch.cuda.current_stream(), shape=source.shape, dtype="float32") as slot:
            tensor = torch.from_dlpack(slot)
            assert tensor.data_ptr() == slot.address
            tensor.copy_(source)
            del tensor
            slot.publish()
        with consumer.receive(timeout=5, stream=torch.cuda.current_stream()) as message:
            tensor = torch.from_dlpack(message)
            assert tensor.data_ptr() == message.address
            assert tensor.device.type == "cuda"
            assert torch.equal(tensor, source)
            with pytest.raises(BufferError, match="DLPack"):
                message.release()
            del tensor


def test_streams_that_race_are_ordered(frames, torch):
    """The writer's stream lags behind the CPU, and readers run on streams of their own."""
    producer, consumer = frames
    writer, receiver, reader = torch.cuda.Stream(), torch.cuda.Stream(), torch.cuda.Stream()
    sums = []
    for k in range(200):
        with producer.loan(timeout=10, stream=writer, shape=(1 << 20,), dtype="int32") as slot:
            with torch.cuda.stream(writer):
                torch.cuda._sleep(100_000)
                torch.from_dlpack(slot).fill_(k)
            slot.publish()
        with consumer.receive(timeout=10, stream=receiver) as message:
            assert message.sequence == k
            with torch.cuda.stream(reader):  # another than the message's: ordered by what DLPack passes
                tensor = torch.from_dlpack(message)
                if k % 3 == 0:
                    torch.cuda._sleep(200_000)
                sums.append(tensor.sum())
                del tensor
    torch.cuda.synchronize()
    assert [s.item() for s in sums] == [k << 20 for k in range(200)]


def test_the_default_streams_are_ordered_too(frames, torch):
    producer, consumer = frames
    for k in range(50):
        with producer.loan(timeout=10, shape=(1 << 16,), dtype="int64") as slot:
            torch.cuda._sleep(50_000)
            torch.from_dlpack(slot).fill_(k)
            slot.publish()
        with consumer.receive(timeout=10) as message:
            assert torch.from_dlpack(message).sum().item() == k << 16


def test_a_tensor_outlives_its_block(frames, torch):
    producer, consumer = frames
    for k in range(3):
        with producer.loan(timeout=5, shape=(1000,), dtype="float32") as slot:
            torch.from_dlpack(slot).fill_(k)
            slot.publish()
    kept = []
    for _ in range(3):
        with consumer.receive(timeout=5) as message:
            kept.append(torch.from_dlpack(message.detach()))
    del message
    assert [t.mean().item() for t in kept] == [0, 1, 2]
    kept.clear()
    for _ in range(8):  # their slots are free again
        with producer.loan(timeout=5) as slot:
            slot.publish(8)
        consumer.receive(timeout=5).release()


def test_cupy_shares_device_messages(frames):
    cupy = library("cupy")
    producer, consumer = frames
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        with producer.loan(timeout=5, stream=stream, shape=(100, 7), dtype="float64") as slot:
            array = cupy.asarray(slot)
            assert array.data.ptr == slot.address
            array[:] = cupy.arange(700).reshape(100, 7)
            del array
            slot.publish()
        with producer.loan(timeout=5, stream=stream, shape=(4,), dtype="int32") as slot:
            array = cupy.from_dlpack(slot)
            array[:] = 7
            del array
            slot.publish()
        with consumer.receive(timeout=5, stream=stream) as message:
            array = cupy.asarray(message)
            assert array.data.ptr == message.address
            assert (array.get() == np.arange(700).reshape(100, 7)).all()
            del array
        with consumer.receive(timeout=5, stream=stream) as message:
            assert cupy.from_dlpack(message).get().tolist() == [7] * 4


@pytest.mark.filterwarnings("ignore:.*Grid size", "ignore:.*timedelta:DeprecationWarning")
def test_numba_shares_device_messages(frames):
    library("numba.cuda.cudaimpl")  # which the first kernel needs
    cuda = library("numba.cuda")
    producer, consumer = frames
    stream = cuda.stream()

    @cuda.jit
    def double(values):
        i = cuda.grid(1)
        if i < values.size:
            values[i] *= 2

    warm = cuda.to_device(np.zeros(1, np.float32))
    double[1, 1, stream](warm)
    stream.synchronize()
    with producer.loan(timeout=5, stream=stream, shape=(1000,), dtype="float32") as slot:
        array = cuda.as_cuda_array(slot)
        array.copy_to_device(np.arange(1000, dtype=np.float32), stream=stream)
        double[4, 256, stream](array)
        del array
        slot.publish()
    with consumer.receive(timeout=5, stream=stream) as message:
        array = cuda.as_cuda_array(message)
        assert (array.copy_to_host(stream=stream) == 2 * np.arange(1000)).all()
        del array


def test_jax_shares_device_messages(frames):
    jax = library("jax")
    producer, consumer = frames
    cupy = library("cupy")
    with producer.loan(timeout=5, shape=(16,), dtype="float32") as slot:
        cupy.asarray(slot)[:] = cupy.arange(16)
        slot.publish()
    with consumer.receive(timeout=5) as message:
        array = jax.dlpack.from_dlpack(message)
        assert float(array.sum()) == 120
        array.block_until_ready()
        del array
        gc.collect()


def test_nothing_leaks_over_many_messages(frames, torch, broker):
    producer, consumer = frames
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    with torch.cuda.stream(stream):
        for k in range(100_000):
            with producer.loan(timeout=10, stream=stream, shape=(64,), dtype="float32") as slot:
                if k % 100 == 0:
                    torch.from_dlpack(slot).fill_(k)
                slot.publish()
            with consumer.receive(timeout=10, stream=stream) as message:
                if k % 100 == 0:
                    torch.from_dlpack(message)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before
    queue = next(q for q in broker.stats().queues if q.name == "frames")
    assert queue.published == 100_000
    for _ in range(8):
        with producer.loan(timeout=5) as slot:
            slot.publish(8)
        consumer.receive(timeout=5).release()

"""PyTorch and CuPy work in ipcq.Buffer, in the order of their streams, raced on purpose."""

import gc

import ipcq
import numpy as np
import pytest
from conftest import eventually, library

SLOW = 20_000_000  # clock cycles of a kernel that is behind: some 10 ms


@pytest.fixture
def streams(gpu, torch):
    assert gpu is not None
    return [torch.cuda.Stream() for _ in range(3)]


def test_pytorch_works_in_both_sides_without_a_copy(streams, torch):
    with ipcq.Buffer((3, 4), "float32", device=0) as buffer:
        with buffer.host(write=True) as view:
            tensor = torch.from_dlpack(view)
            torch.zeros(1, device="cuda")  # before, PyTorch does not ask the driver
            assert tensor.is_pinned()
            assert tensor.data_ptr() == view.address
            tensor.copy_(torch.arange(12).reshape(3, 4))
            del tensor
        with torch.cuda.stream(streams[0]), buffer.device(streams[0], write=True) as view:
            tensor = torch.from_dlpack(view)
            assert tensor.data_ptr() == view.address
            assert tensor.device == torch.device("cuda", 0)
            tensor.mul_(2)
            with pytest.raises(BufferError, match="1 view is alive"):
                view.release()
            del tensor
        assert np.asarray(buffer).tolist() == (np.arange(12).reshape(3, 4) * 2).tolist()


def test_the_default_stream_is_one_that_is_named(streams, torch):
    with ipcq.Buffer((1 << 20,), "int32", device=0) as buffer:
        for k in range(20):
            with buffer.device(torch.cuda.default_stream(), write=True) as view:
                torch.cuda._sleep(SLOW // 10)
                torch.from_dlpack(view).fill_(k)
            assert (np.asarray(buffer) == k).all()


def test_a_host_read_sees_what_a_slow_kernel_writes(streams, torch):
    with ipcq.Buffer((1 << 22,), "int32", device=0) as buffer:
        for k in range(20):
            with torch.cuda.stream(streams[k % 3]), buffer.device(streams[k % 3], write=True) as view:
                torch.cuda._sleep(SLOW)
                torch.from_dlpack(view).fill_(k)
            array = np.asarray(buffer)
            assert int(array.min()) == int(array.max()) == k
            del array


def test_streams_take_turns_in_one_buffer(streams, torch):
    sums = []
    with ipcq.Buffer((1 << 20,), "int64", device=0) as buffer:
        for k in range(60):
            writer, reader = streams[k % 3], streams[(k + 1) % 3]
            with torch.cuda.stream(writer), buffer.device(writer, write=True) as view:
                torch.cuda._sleep(SLOW // 20)
                torch.from_dlpack(view).fill_(k)
            # The view's stream is not that of the work, which DLPack names.
            with torch.cuda.stream(reader), buffer.device(writer) as view:
                torch.cuda._sleep(SLOW // 40)
                sums.append(torch.from_dlpack(view).sum())
        torch.cuda.synchronize()
    assert [int(s) for s in sums] == [k << 20 for k in range(60)]


def test_a_pool_feeds_steps_while_kernels_run(streams, torch):
    copies, compute, _ = streams
    expected, sums = [], []
    with ipcq.BufferPool(3, (1 << 20,), "int32", device=0) as pool:
        for k in range(60):
            with pool.get(timeout=20) as buffer:
                with buffer.host(write=True, keep=False) as view:
                    np.asarray(view)[:] = k
                buffer.to_device(copies)
                with torch.cuda.stream(compute), buffer.device(compute) as view:
                    torch.cuda._sleep(SLOW // 10)  # the buffer is back before this is over
                    sums.append(torch.from_dlpack(view).sum())
            expected.append(k << 20)
        assert pool.close() == 0
    torch.cuda.synchronize()
    assert [int(s) for s in sums] == expected


def test_cupy_works_in_the_device_side(gpu):
    cupy = library("cupy")
    stream = cupy.cuda.Stream(non_blocking=True)
    with ipcq.Buffer((100, 7), "float64", device=gpu.index) as buffer, stream:
        with buffer.device(stream, write=True) as view:
            array = cupy.asarray(view)
            assert array.data.ptr == view.address
            array[:] = cupy.arange(700).reshape(100, 7)
            del array
        assert (np.asarray(buffer) == np.arange(700).reshape(100, 7)).all()
        with buffer.device(stream, write=True) as view:
            cupy.from_dlpack(view)[:] = 1
        assert (np.asarray(buffer) == 1).all()


def test_nothing_leaks_over_ten_thousand_cycles(streams, torch):
    stream = streams[0]

    def cycle(buffer, k):
        with buffer.host(write=True, keep=False) as view:
            np.asarray(view)[:] = k
        with torch.cuda.stream(stream), buffer.device(stream, write=True) as view:
            if k % 100 == 0:
                torch.from_dlpack(view).add_(1)

    with ipcq.BufferPool(4, (1024,), "int32", device=0) as pool:
        for k in range(10_000):
            with pool.get(timeout=20) as buffer:
                cycle(buffer, k)
        eventually(lambda: pool.stats().in_use == 0, "all are back")
        assert pool.stats().gets == 10_000
    before = torch.cuda.mem_get_info()[0]
    for k in range(300):  # 4 MiB each, dropped while the stream uses it
        cycle(ipcq.Buffer((1 << 20,), "int32", device=0), k)
    torch.cuda.synchronize()
    gc.collect()
    eventually(lambda: torch.cuda.mem_get_info()[0] >= before - (64 << 20), "the memory of 300 buffers is free again")

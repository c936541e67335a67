"""ipcq.BufferPool: what is lent comes back, whoever drops it and however, and is lent again when streams are done."""

import gc
import pickle
import random
import threading
import time

import ipcq
import numpy as np
import pytest
from buffer_fixtures import device  # noqa: F401
from conftest import InThread, eventually
from driver import Driver, Gate


@pytest.fixture
def pool(device):
    with ipcq.BufferPool(3, (4, 4), "float32", device=device) as pool:
        yield pool


def is_back(pool, held=0):
    eventually(lambda: pool.stats().held == held and pool.stats().in_use == 0, f"{held} are held: {pool.stats()}")


def test_each_buffer_is_lent_once(pool, device):
    buffers = [pool.get(timeout=5) for _ in range(3)]
    assert {buffer.shape for buffer in buffers} == {(4, 4)}
    assert len({buffer.host().address for buffer in buffers}) == 3
    assert pool.backend == buffers[0].backend == ("host" if device is None else "cuda")
    assert pool.gpu == buffers[0].gpu == device
    buffers.clear()
    is_back(pool)
    stats = pool.stats()
    assert (stats.count, stats.gets, stats.dry) == (3, 3, 0)


def test_a_pool_that_runs_dry_says_how_many_are_held(pool):
    kept = [pool.get(0) for _ in range(3)]
    with pytest.raises(ipcq.Empty, match="of 3 are held 3, and back but still used by streams 0"):
        pool.get(0)
    with pytest.raises(ipcq.TimeoutError, match="held 3"):
        pool.get(timeout=0.05)
    assert pool.stats().dry == 2
    kept.pop().release()
    pool.get(timeout=5).release()
    is_back(pool, 2)


def test_a_get_waits_for_what_another_thread_gives_back(pool):
    kept = [pool.get(0) for _ in range(3)]
    waiting = InThread(lambda: pool.get(timeout=20))
    eventually(lambda: pool.stats().waits == 1, "it waits")
    kept.pop()  # by the collector
    assert waiting.result().held
    assert pool.stats().held == 3


def test_a_buffer_comes_back_however_it_ends(pool):
    with pool.get(0) as buffer:
        pass
    assert not buffer.held
    with pytest.raises(KeyError), pool.get(0):
        raise KeyError
    pool.get(0)
    cycle = [pool.get(0)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    InThread(lambda: pool.get(0) and None).result()
    is_back(pool)


def test_a_buffer_under_views_comes_back_with_the_last(pool):
    buffer = pool.get(0)
    array = np.asarray(buffer.host(write=True))
    with pytest.raises(BufferError):
        buffer.release()
    del buffer
    gc.collect()
    assert pool.stats().held == 1
    array[:] = 1
    del array
    is_back(pool)


def test_a_view_that_has_ended_keeps_no_buffer(pool):
    buffer = pool.get(0)
    with buffer.host(write=True) as view:
        assert (view.shape, view.dtype, view.nbytes) == ((4, 4), "float32", 64)
    del buffer
    is_back(pool)
    view.release()
    assert not view.held
    assert "ended" in repr(view)
    for call in (lambda: view.shape, lambda: view.address, view.__dlpack__):
        with pytest.raises(ipcq.UsageError, match="has ended"):
            call()
    with pytest.raises(BufferError, match="has ended"):
        memoryview(view)


def test_neither_side_of_what_is_lent_is_stale(pool):
    for _ in range(4):
        buffer = pool.get(5)
        assert buffer.state is ipcq.BufferState.SYNCED
        with buffer.host(write=True) as view:
            np.asarray(view)[:] = 1
        buffer.release()


def test_what_a_stream_uses_is_not_lent(pool, device):
    if device is None:
        pytest.skip("host memory has no streams")
    driver = Driver()
    stream = driver.stream()
    with Gate(driver) as gate:
        buffer = pool.get(5)
        gate.stop(stream)
        with buffer.device(stream, write=True) as view:
            driver.fill(view.address, 1, view.nbytes, stream)
        buffer.release()
        others = [pool.get(5), pool.get(5)]
        assert (pool.stats().held, pool.stats().in_use) == (2, 1)
        with pytest.raises(ipcq.TimeoutError, match="still used by streams 1"):
            pool.get(timeout=0.05)
        waiting = InThread(lambda: pool.get(timeout=20))
        gate.open()
        assert waiting.result().held
        del others, waiting
    is_back(pool)


def test_a_closed_pool_lends_nothing_and_waits_for_no_holder(device):
    pool = ipcq.BufferPool(2, (8,), device=device)
    kept, other = pool.get(0), pool.get(0)
    waiting = InThread(lambda: pool.get(timeout=20))
    eventually(lambda: pool.stats().waits == 1, "it waits")
    other.release()
    waiting.result().release()
    waiting = InThread(lambda: [pool.get(timeout=20), pool.get(timeout=20)])
    eventually(lambda: pool.stats().waits == 2, "it waits")
    assert pool.close() in (1, 2)  # that of the thread may be back
    with pytest.raises(ipcq.ClosedError):
        waiting.result()
    with pytest.raises(ipcq.ClosedError, match="closed"):
        pool.get(0)
    assert pool.closed
    with kept.host(write=True) as view:
        np.asarray(view)[:] = 1
    assert bytes(kept) == bytes([1] * 8)
    if device is None:
        kept.release()
        return
    driver = Driver()
    with kept.device(driver.stream()) as view:
        address = view.address
    kept.release()
    eventually(lambda: not driver.is_allocated(address), "the memory of what came back late is freed")


def test_a_buffer_outlives_the_pool_that_was_dropped(device):
    kept = ipcq.BufferPool(2, (8,), device=device).get(5)
    gc.collect()
    with kept.host(write=True) as view:
        np.asarray(view)[:] = 1
    assert bytes(kept) == bytes([1] * 8)
    kept.release()


def test_close_waits_for_streams_within_bounds(device):
    if device is None:
        pytest.skip("host memory has no streams")
    driver = Driver()
    stream = driver.stream()
    pool = ipcq.BufferPool(2, (8,), device=device)
    with Gate(driver) as gate:
        with pool.get(5) as buffer:
            gate.stop(stream)
            buffer.mark_device_dirty(stream)
        begun = time.monotonic()
        assert pool.close(timeout=0.1) == 1
        assert time.monotonic() - begun < 10
        gate.open()
    assert pool.close() == 0


def test_threads_share_it(pool):
    def use(seed):
        choice = random.Random(seed)
        for k in range(200):
            with pool.get(timeout=20) as buffer:
                number = seed * 1000 + k
                with buffer.host(write=True, keep=False) as view:
                    np.asarray(view)[:] = number
                if choice.random() < 0.3:
                    time.sleep(0.0001)
                assert (np.asarray(buffer) == number).all()

    threads = [InThread(lambda seed=seed: use(seed)) for seed in range(6)]
    for thread in threads:
        thread.result()
    is_back(pool)
    assert pool.stats().gets == 1200


def test_a_pool_of_nothing_is_refused(device):
    for arguments in [(0, (4,)), (-1, (4,)), (1, (-4,)), (1, (4,), "text")]:
        with pytest.raises(ValueError):
            ipcq.BufferPool(*arguments, device=device)
    with pytest.raises(ipcq.BackendError):
        ipcq.BufferPool(1, (4,), device=99)


def test_a_thread_drops_what_another_got(pool):
    box = [pool.get(0)]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join(10)
    is_back(pool)


def test_nothing_leaks_over_many_cycles(pool):
    for k in range(10_000):
        with pool.get(timeout=5) as buffer:
            if k % 100 == 0:
                with buffer.host(write=True) as view:
                    np.asarray(view)[:] = k
                buffer.to_device()
    is_back(pool)
    assert pool.stats().gets == 10_000
    assert {pool.get(0).held for _ in range(3)} == {True}


def test_they_belong_to_their_process(pool):
    for one in (pool, pool.get(0), pool.get(0).host()):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(one)
    with pytest.raises(BufferError, match="never made"):
        memoryview(ipcq.Buffer.__new__(ipcq.Buffer))

"""Loans: slots that are written in place."""

from __future__ import annotations

import gc

import ipcq
import pytest
from conftest import WAIT, InThread, queue_stats

np = pytest.importorskip("numpy", reason="NumPy is not installed: loans are written by it here")


@pytest.fixture
def ends(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        yield producer, consumer


def test_a_loan_is_written_in_place_and_published(broker, ends):
    producer, consumer = ends
    with producer.loan() as slot:
        assert queue_stats(broker).empty == 3
        assert (len(slot), slot.nbytes, slot.held) == (4096, 4096, True)
        array = np.asarray(slot)
        assert array.flags.writeable
        assert array.ctypes.data == np.asarray(slot).ctypes.data
        array[:] = 7
        assert memoryview(slot)[4095] == 7  # what one view writes the others see
        memoryview(slot)[0] = 8
        assert array[0] == 8
        del array
        slot.publish(10)
        assert not slot.held
        assert "ended" in repr(slot)
    with consumer.receive(timeout=1) as message:
        assert bytes(message) == b"\x08" + b"\x07" * 9


def test_a_loan_is_published_whole_unless_a_length_is_given(ends):
    producer, consumer = ends
    slot = producer.loan()
    slot.write(b"x" * 4096)
    slot.publish()
    assert consumer.receive_bytes(timeout=1) == b"x" * 4096


def test_write_copies_to_a_place_within_the_slot(ends):
    producer, consumer = ends
    slot = producer.loan()
    slot.write(b"..........")
    slot.write(np.arange(3, dtype=np.uint8), 2)
    slot.write(memoryview(b"end"), offset=4093)
    slot.write(b"", offset=4096)
    for data, offset in ((b"xx", 4095), (b"x", 4096), (b"", 4097), (bytes(4097), 0)):
        with pytest.raises(ipcq.StatusError) as caught:
            slot.write(data, offset)
        assert caught.value.status is ipcq.Status.TOO_LARGE
    for data, offset in (("text", 0), (b"x", -1), (5, 0)):
        with pytest.raises((TypeError, ValueError)):
            slot.write(data, offset)
    slot.publish()
    got = consumer.receive_bytes(timeout=1)
    assert (got[:10], got[-3:]) == (b"..\x00\x01\x02.....", b"end")


def test_metadata_travels_beside_the_payload(ends):
    producer, consumer = ends
    assert producer.metadata_bytes == consumer.metadata_bytes == 128
    slot = producer.loan()
    slot.set_metadata(b"first")
    slot.set_metadata(b"the last call counts")
    with pytest.raises(ipcq.StatusError) as caught:
        slot.set_metadata(bytes(129))
    assert caught.value.status is ipcq.Status.TOO_LARGE
    slot.write(b"payload")
    slot.publish(7)
    with consumer.receive(timeout=1) as message:
        assert (message.metadata, bytes(message)) == (b"the last call counts", b"payload")
        assert (message.shape, message.dtype) == ((7,), "uint8")
    producer.send(b"none" * 100)
    with consumer.receive(timeout=1) as message:
        assert message.metadata == b""


def test_a_loan_that_is_not_published_goes_back(broker, ends):
    producer, consumer = ends
    with producer.loan():
        assert queue_stats(broker).empty == 3
    assert queue_stats(broker).empty == 4
    with pytest.raises(KeyError), producer.loan():
        raise KeyError
    assert queue_stats(broker).empty == 4
    slot = producer.loan()
    del slot
    gc.collect()
    assert queue_stats(broker).empty == 4
    assert consumer.try_receive() is None


def test_a_loan_with_live_views_goes_back_with_the_last(broker, ends):
    producer, _ = ends
    with pytest.raises(KeyError), producer.loan() as slot:
        array = np.asarray(slot)
        raise KeyError
    assert not slot.held
    assert queue_stats(broker).empty == 3
    array[:] = 1
    with pytest.raises(BufferError):
        memoryview(slot)
    del array
    assert queue_stats(broker).empty == 4


def test_a_loan_with_live_views_is_not_published(ends):
    producer, consumer = ends
    with producer.loan() as slot:
        array = np.asarray(slot)
        with pytest.raises(BufferError, match="1 view"):
            slot.publish(5)
        assert slot.held
        assert consumer.try_receive() is None
        array[:5] = 1
        del array
        slot.publish(5)
    assert consumer.receive_bytes(timeout=1) == b"\x01" * 5


def test_what_was_published_is_the_producers_no_more(ends):
    producer, _ = ends
    slot = producer.loan()
    slot.publish(1)
    for call in (slot.publish, lambda: slot.write(b"x"), lambda: slot.set_metadata(b"x"), slot.__enter__):
        with pytest.raises(ipcq.UsageError, match="published"):
            call()
    with pytest.raises(BufferError, match="published"):
        memoryview(slot)


@pytest.mark.parametrize(("length", "error"), [(-1, (TypeError, ValueError)), ("1", TypeError), (1.5, TypeError)])
def test_a_length_that_is_none_is_refused(ends, length, error):
    producer, _ = ends
    with producer.loan() as slot:
        with pytest.raises(error):
            slot.publish(length)
        assert slot.held


def test_a_length_beyond_the_slot_is_too_large_and_the_loan_stays(ends):
    producer, consumer = ends
    with producer.loan() as slot:
        with pytest.raises(ipcq.StatusError) as caught:
            slot.publish(4097)
        assert caught.value.status is ipcq.Status.TOO_LARGE
        slot.publish(0)
    assert consumer.receive_bytes(timeout=1) == b""


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((3, 4), "float64"),
        ((512,), "float64"),
        ((2, 0, 3), "int16"),
        ((), "complex128"),
        ([5], "bool"),
        ((7,), "uint8"),
    ],
)
def test_a_loan_is_an_array_that_arrives_as_it_is(ends, shape, dtype):
    producer, consumer = ends
    slot = producer.loan(shape=shape, dtype=dtype)
    array = np.asarray(slot)
    assert (array.shape, array.dtype) == (tuple(shape), np.dtype(dtype))
    expected = np.arange(array.size).reshape(shape).astype(dtype)
    array[...] = expected
    del array
    slot.publish()
    with consumer.receive(timeout=1) as message:
        assert (message.shape, message.dtype) == (tuple(shape), dtype)
        np.testing.assert_array_equal(np.asarray(message), expected)


def test_an_array_is_published_whole(ends):
    producer, consumer = ends
    slot = producer.loan(shape=(4,), dtype="int32")
    slot.write(np.arange(4, dtype=np.int32))
    with pytest.raises(ValueError, match="whole"):
        slot.publish(8)
    slot.publish(16)
    with consumer.receive(timeout=1) as message:
        assert np.asarray(message).tolist() == [0, 1, 2, 3]


def test_a_shape_that_does_not_fit_is_refused_and_the_slot_goes_back(broker, ends):
    producer, _ = ends
    with pytest.raises(ipcq.StatusError) as caught:
        producer.loan(shape=(513,), dtype="float64")
    assert caught.value.status is ipcq.Status.TOO_LARGE
    for shape, dtype in (
        ((2,), "float12"),
        ((1,) * 9, "uint8"),
        ((-1,), "uint8"),
        ((2**40,), "uint8"),
        ((2**31,) * 3, "uint8"),
    ):
        with pytest.raises(ValueError):
            producer.loan(shape=shape, dtype=dtype)
    for shape in ((1.5,), ("2",), (None,)):
        with pytest.raises(TypeError):
            producer.loan(shape=shape)
    assert queue_stats(broker).empty == 4


def test_shape_and_dtype_are_numpys_too(ends):
    producer, _ = ends
    like = np.zeros((2, 3), dtype=np.float32)
    with producer.loan(shape=like.shape, dtype=str(like.dtype)) as slot:
        assert np.asarray(slot).shape == (2, 3)
    with producer.loan(shape=[np.int64(2), np.int64(3)], dtype="float32") as slot:
        assert np.asarray(slot).shape == (2, 3)


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32")])
def test_a_dtype_is_a_name_or_a_type_of_numpys(ends, dtype):
    producer, consumer = ends
    with producer.loan(timeout=WAIT, shape=(3,), dtype=dtype) as slot:
        slot.publish()
    with consumer.receive(timeout=WAIT) as message:
        assert (message.dtype, message.shape) == ("float32", (3,))
    assert ipcq.Buffer((3,), dtype).dtype == "float32"
    for wrong, error in ((np.dtype(">f4"), ValueError), (7, TypeError), ("float33", ValueError)):
        with pytest.raises(error, match="dtype|float33"):
            producer.loan(timeout=WAIT, shape=(3,), dtype=wrong)


def test_a_loan_is_written_and_published_in_other_threads(ends):
    producer, consumer = ends
    slot = producer.loan()
    InThread(lambda: slot.write(b"abc")).result()
    InThread(lambda: slot.publish(3)).result()
    assert consumer.receive_bytes(timeout=1) == b"abc"


def test_a_loan_of_a_closed_producer_is_not_published(broker, session):
    with session.consumer("q") as consumer:
        producer = session.producer("q")
        slot = producer.loan()
        producer.close()
        with pytest.raises((ipcq.ClosedError, ipcq.UsageError)):
            slot.publish(1)
        with pytest.raises(ipcq.EndOfStream):
            consumer.receive(timeout=5)
        del slot
        gc.collect()
        assert queue_stats(broker).empty == 4

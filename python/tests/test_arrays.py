"""Arrays with shape and element type, both ways."""

from __future__ import annotations

import array
import random

import ipcq
import pytest
from conftest import queue_stats

np = pytest.importorskip("numpy", reason="NumPy is not installed: these tests are about its arrays")

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES = ["bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128"]


@pytest.fixture
def arrays(broker, session):
    """A producer and a consumer of a queue whose messages have their shapes beside them."""
    broker.create("arrays", slots=4, slot_bytes="64KiB")
    with session.producer("arrays") as producer, session.consumer("arrays") as consumer:
        yield producer, consumer


@pytest.fixture
def tensors(broker, session):
    """The same of a queue whose payloads begin with their shapes, without metadata, with short messages in lines."""
    broker.create("tensors", slots=4, slot_bytes="64KiB", line=512, metadata=0, schema="tensor")
    with (
        session.producer("tensors", schema="tensor") as producer,
        session.consumer("tensors", schema="tensor") as consumer,
    ):
        yield producer, consumer


@pytest.fixture(params=["arrays", "tensors"])
def ends(request):
    return request.getfixturevalue(request.param)


def filled(shape, dtype, seed):
    """An array of any bits that its element type may have."""
    bits = np.random.default_rng(seed)
    count = int(np.prod(shape, dtype=np.int64))
    if dtype == "bool":
        return bits.integers(0, 2, count).astype(bool).reshape(shape)
    return np.frombuffer(bits.bytes(count * np.dtype(dtype).itemsize), dtype=dtype).reshape(shape)


def some_shapes(seed, count):
    """Shapes of up to eight dimensions and 64 KiB, and always those at the edges."""
    yield from [(), (0,), (1,), (3, 0, 2), (0, 0), (1,) * 8, (5,), (1, 7, 1)]
    choice = random.Random(seed)
    for _ in range(count):
        shape = [choice.choice((0, 1, 1, 2, 3, 4, 5, 7, 16)) for _ in range(choice.randint(1, 8))]
        while int(np.prod(shape, dtype=np.int64)) * 16 > 60_000:
            shape[shape.index(max(shape))] = 1
        yield tuple(shape)


def assert_arrives(ends, source):
    """The array arrives with its shape, its type and all of its bits."""
    producer, consumer = ends
    producer.send_array(source, timeout=1)
    with consumer.receive(timeout=1) as message:
        assert message.shape == source.shape
        assert message.dtype == str(source.dtype)
        got = np.asarray(message)
        assert (got.shape, got.dtype) == (source.shape, source.dtype)
        assert got.tobytes() == source.tobytes()
        assert got.flags.c_contiguous
        assert not got.flags.writeable
        view = memoryview(message)
        assert (view.shape, view.itemsize, view.nbytes) == (source.shape, source.itemsize, source.nbytes)
        assert view.tobytes() == source.tobytes()
        del got, view


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_any_shape_arrive_as_they_were(ends, dtype):
    for number, shape in enumerate(some_shapes(dtype, 20)):
        assert_arrives(ends, filled(shape, dtype, number))


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_any_strides_arrive_with_their_elements_in_order(ends, dtype):
    whole = filled((6, 5, 4), dtype, 1)
    parts = {
        "Fortran order": np.asfortranarray(whole),
        "transposed": whole.T,
        "every second": whole[::2, 1::2],
        "backwards": whole[::-1, :, ::-1],
        "a column": whole[:, 2, 1],
        "one element": whole[3, 2, 1:2],
        "the same row again and again": np.broadcast_to(whole[0], (7, 5, 4)),
        "without elements": whole[:, 5:],
    }
    for part in parts.values():
        assert_arrives(ends, part)


def test_a_short_tensor_needs_no_slot(broker, tensors):
    producer, consumer = tensors
    producer.send_array(np.arange(10.0))
    assert queue_stats(broker, "tensors").empty == 4
    producer.send_array(np.arange(100.0))
    assert queue_stats(broker, "tensors").empty == 3
    with consumer.receive(timeout=1) as message:
        assert np.asarray(message).tolist() == list(range(10))
        assert message.nbytes == 128 + 80
    with consumer.receive(timeout=1) as message:
        assert np.asarray(message).tolist() == list(range(100))


@pytest.mark.parametrize(
    "source",
    [
        b"bytes",
        bytearray(b"bytes"),
        array.array("h", [1, -2, 3]),
        array.array("l", [1, -2, 3]),
        memoryview(array.array("d", [1.5, 2.5])),
        memoryview(bytes(range(24))).cast("B", (2, 3, 4)),
        memoryview(b"abc").cast("c"),
        np.float32(2.5),
    ],
    ids=["bytes", "bytearray", "array", "longs", "doubles", "three dimensions", "characters", "NumPy scalar"],
)
def test_whatever_has_a_buffer_is_an_array(ends, source):
    producer, consumer = ends
    producer.send_array(source)
    expected = np.asarray(memoryview(source).cast("B") if memoryview(source).format == "c" else memoryview(source))
    with consumer.receive(timeout=1) as message:
        got = np.asarray(message)
        assert got.shape == memoryview(source).shape
        assert got.tobytes() == expected.tobytes()
        del got


def test_a_message_is_forwarded_as_an_array_to_numpy_functions(ends):
    producer, consumer = ends
    producer.send_array(np.arange(12, dtype=np.float32).reshape(3, 4))
    with consumer.receive(timeout=1) as message:
        assert float(np.sum(message)) == 66
        assert np.array(message).flags.owndata


@pytest.mark.parametrize(
    ("source", "format_"),
    [
        (np.zeros(3, dtype=">f4"), ">f"),
        (np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]), "a"),
        (np.zeros(3, dtype="S4"), "s"),
        (np.zeros(3, dtype="U4"), "w"),
        (np.array([{}, None], dtype=object), "O"),
        (np.zeros(3, dtype=np.longdouble), "g"),
    ],
    ids=["big-endian", "records", "byte strings", "text", "objects", "long double"],
)
def test_elements_without_a_name_are_refused_and_the_text_says_which(ends, source, format_):
    producer, consumer = ends
    with pytest.raises(ValueError, match=format_):
        producer.send_array(source)
    assert consumer.try_receive() is None


@pytest.mark.parametrize("source", ["text", 5, None, [1.0, 2.0]], ids=repr)
def test_what_is_no_array_is_refused(ends, source):
    producer, _ = ends
    with pytest.raises(TypeError):
        producer.send_array(source)


def test_more_than_eight_dimensions_are_refused(broker, ends):
    producer, _ = ends
    with pytest.raises(ValueError, match="8 dimensions"):
        producer.send_array(np.zeros((1,) * 9))
    assert queue_stats(broker, producer.queue).empty == 4


def test_an_array_that_exceeds_a_slot_is_too_large_and_the_slot_goes_back(broker, ends):
    producer, consumer = ends
    with pytest.raises(ipcq.StatusError, match="max_bytes") as caught:
        producer.send_array(np.zeros(65537, dtype=np.uint8))
    assert caught.value.status is ipcq.Status.TOO_LARGE
    assert queue_stats(broker, producer.queue).empty == 4
    assert consumer.try_receive() is None


def test_an_array_as_large_as_a_slot_fits(arrays):
    assert_arrives(arrays, np.zeros(65536, dtype=np.uint8))


def test_an_array_waits_for_room_as_bytes_do(ends):
    producer, _ = ends
    for _ in range(4):
        producer.send_array(np.zeros(1000))
    with pytest.raises(ipcq.Full):
        producer.send_array(np.zeros(1000), timeout=0)
    with pytest.raises(ipcq.TimeoutError):
        producer.send_array(np.zeros(1000), timeout=0.05)


def test_a_queue_without_room_for_shapes_says_what_helps(broker, session):
    broker.create("plain", slots=4, metadata=0)
    broker.create("lines", slots=0)
    for queue, helps in (("plain", "metadata=128"), ("lines", "schema='tensor'")):
        with session.producer(queue) as producer:
            with pytest.raises(ipcq.UsageError, match=helps):
                producer.send_array(np.zeros(3))
            producer.send(np.zeros(3))  # the bytes alone


def test_a_queue_without_slots_has_short_tensors(broker, session):
    broker.create("lines", slots=0, line=512, schema="tensor")
    with session.producer("lines", schema="tensor") as producer, session.consumer("lines") as consumer:
        assert_arrives((producer, consumer), np.arange(20.0))
        with pytest.raises(ipcq.StatusError) as caught:
            producer.send_array(np.arange(100.0))
        assert caught.value.status is ipcq.Status.TOO_LARGE


def test_metadata_that_is_no_tensor_is_the_applications_own(arrays):
    producer, consumer = arrays
    for metadata in (bytes(128), b"\xff" * 128, bytes(range(128)), b"short"):
        slot = producer.loan()
        slot.write(b"payload")
        slot.set_metadata(metadata)
        slot.publish(7)
        with consumer.receive(timeout=1) as message:
            assert (message.metadata, bytes(message)) == (metadata, b"payload")
            assert (message.shape, message.dtype) == ((7,), "uint8")
            assert np.asarray(message).tobytes() == b"payload"


def test_a_shape_that_lies_about_its_payload_shows_bytes(arrays):
    producer, consumer = arrays
    producer.send_array(np.zeros((4, 4)))
    with consumer.receive(timeout=1) as message:
        metadata = message.metadata
    slot = producer.loan()
    slot.set_metadata(metadata)
    slot.publish(100)  # of the 128 that it says
    with consumer.receive(timeout=1) as message:
        assert (message.shape, message.dtype) == ((100,), "uint8")


def test_bytes_in_a_queue_of_tensors_are_bytes(tensors):
    producer, consumer = tensors
    for payload in (b"", b"short", b"\xff" * 200, bytes(range(256)) * 2):
        producer.send(payload)
        with consumer.receive(timeout=1) as message:
            assert (message.shape, message.dtype) == ((len(payload),), "uint8")
            assert bytes(message) == payload


def test_shapes_are_forwarded(broker, session, arrays):
    producer, consumer = arrays
    broker.create("next", slots=4, slot_bytes="64KiB")
    with session.producer("next") as on, session.consumer("next") as end:
        producer.send_array(np.eye(5))
        on.forward(consumer.receive(timeout=1))
        with end.receive(timeout=1) as message:
            np.testing.assert_array_equal(np.asarray(message), np.eye(5))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_a_handler_works_on_the_elements_and_leaves_the_shape(broker, session, dtype):
    broker.create("inverted", slots=4, slot_bytes="64KiB", handler="invert")
    with session.producer("inverted") as producer, session.consumer("inverted") as consumer:
        source = filled((7, 9), dtype, 3)
        producer.send_array(source)
        with consumer.receive(timeout=5) as message:
            got = np.asarray(message)
            assert (got.shape, got.dtype) == (source.shape, source.dtype)
            assert (got.view(np.uint8) == ~source.view(np.uint8)).all()
            del got


def test_strided_views_of_a_loan_are_its_elements(arrays):
    producer, consumer = arrays
    slot = producer.loan(shape=(4, 6), dtype="int16")
    image = np.asarray(slot)
    image[...] = 0
    image[1::2, ::3] = 5
    expected = image.copy()
    del image
    slot.publish()
    with consumer.receive(timeout=1) as message:
        np.testing.assert_array_equal(np.asarray(message), expected)

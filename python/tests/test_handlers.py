"""Handlers that are Python functions: what they do to messages, on the host and, where there is one, on a GPU."""

from __future__ import annotations

import importlib
import importlib.util
import math
import subprocess
import sys

import ipcq
import numpy as np
import pytest
from conftest import WAIT, gpu_or_skip, queue_stats
from ipcq.handlers import DROP, REFUSE, Message, Team

try:
    importlib.import_module("numba")
except ImportError:
    pytest.skip("numba is not installed", allow_module_level=True)
except AttributeError as error:  # of a release that does not go with this NumPy
    pytest.skip(f"numba cannot be imported: {error}", allow_module_level=True)

SIZES = (0, 1, 15, 16, 60, 1000, 4096, 200_000)  # bytes: in a line, of one block, of several


@pytest.fixture(params=["host", "cuda"])
def backend(request):
    if request.param == "cuda":
        gpu_or_skip("the played GPU links no LTO-IR")
    return request.param


@pytest.fixture
def run(broker, session, backend):
    """Sends payloads through a queue with the handler; returns what readers saw of each."""

    def run(handler, payloads, **options):
        queue = f"h{len(broker.stats().queues)}"
        broker.create(queue, slots=4, slot_bytes="256KiB", handler=handler, backend=backend, **options)
        seen = []
        with session.producer(queue) as producer, session.consumer(queue) as consumer:
            for payload in payloads:
                producer.send(payload, timeout=WAIT)
                seen += [(bytes(m), m.processed, m.failure) for m in consumer.receive_many(timeout=WAIT)]
            producer.close()
            seen += [(bytes(m), m.processed, m.failure) for m in consumer]
        return seen

    return run


def one_by_one(handler, payloads, broker, session, backend, **options):
    """As ``run``, for handlers that drop: sends all, and then reads."""
    queue = f"h{len(broker.stats().queues)}"
    broker.create(queue, slots=16, slot_bytes=4096, handler=handler, backend=backend, **options)
    with session.producer(queue) as producer:
        for payload in payloads:
            producer.send(payload, timeout=WAIT)
    with session.consumer(queue) as consumer:
        return [(bytes(m), m.processed, m.failure) for m in consumer]


@ipcq.handler(elementwise=True)
def threshold(x, level=128):
    return 0 if x < level else 255


@ipcq.handler
def add(data, team, n=1):
    for i in range(team.rank, data.size, team.size):
        data[i] += n


def random_bytes(size):
    return np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)


def test_an_elementwise_handler_changes_each_element_of_messages_of_any_length(run):
    payloads = [random_bytes(size) for size in SIZES]
    seen = run(threshold(level=100), payloads)
    assert [p for _, p, _ in seen] == [True] * len(SIZES)
    for (got, _, _), sent in zip(seen, payloads, strict=True):
        assert np.array_equal(np.frombuffer(got, np.uint8), np.where(sent < 100, 0, 255))


def test_the_lanes_of_a_team_share_a_message(run):
    payloads = [random_bytes(size) for size in SIZES]
    for n in (1, 3):
        seen = run(add(n=n), payloads)
        for (got, processed, _), sent in zip(seen, payloads, strict=True):
            assert processed
            assert np.array_equal(np.frombuffer(got, np.uint8), sent + np.uint8(n))


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "f4", "f8"]
)
def test_elements_have_each_type_that_an_elementwise_handler_may_have(run, dtype):
    kind = np.dtype(dtype)

    @ipcq.handler(elementwise=True, dtype=dtype)
    def turn(x):
        return ~x

    @ipcq.handler(elementwise=True, dtype=dtype)
    def halve(x, of=7):
        return of - x // 2

    if kind.kind == "f":
        values = np.arange(-60, 60).astype(kind)
    else:
        limits = np.iinfo(kind)
        values = np.array([limits.min, limits.min + 1, 3, 100, limits.max - 1, limits.max], dtype=kind)
    if kind.kind != "f":
        ((got, processed, _),) = run(turn, [values])
        assert processed
        assert np.array_equal(np.frombuffer(got, kind), ~values)
    if kind != np.uint64:  # with an int Numba takes it for signed (the guide says so)
        ((got, processed, _),) = run(halve, [values])
        assert processed
        expected = [7 - v // 2 for v in values.tolist()]  # wraps, as it does in C
        assert np.array_equal(np.frombuffer(got, kind), np.array(expected).astype(kind))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_a_float_that_an_element_cannot_hold_becomes_the_nearest_wherever_it_stands(run, dtype):
    limits = np.iinfo(dtype)

    @ipcq.handler(elementwise=True, dtype=dtype)
    def beyond(x):
        if x == 1:
            return math.nan
        return (x - 2.5) * 1e30 if x < 100 else 3.75

    values = np.array([0, 1, 5, 100] * 40, dtype=dtype)  # a loop's body, and its end
    ((got, processed, _),) = run(beyond, [values])
    assert processed
    assert np.frombuffer(got, dtype).tolist() == [limits.min, 0, limits.max, 3] * 40


def test_floats_are_computed_as_numpy_does(run):
    @ipcq.handler(elementwise=True, dtype="float32")
    def curve(x, rate=0.5):
        return math.exp(-rate * x) if x > 0 else x * x

    values = np.linspace(-3, 3, 1001, dtype=np.float32)
    ((got, _, _),) = run(curve, [values])
    expected = np.where(values > 0, np.exp(-0.5 * values.astype(np.float64)), values.astype(np.float64) ** 2)
    assert np.allclose(np.frombuffer(got, np.float32), expected, rtol=1e-5)


def test_a_message_that_is_no_multiple_of_an_element_is_refused(run):
    @ipcq.handler(dtype="float32")
    def double(data, team):
        for i in range(team.rank, data.size, team.size):
            data[i] *= 2

    @ipcq.handler(elementwise=True, dtype="float32")
    def double_each(x):
        return x * 2

    for handler in (double, double_each):
        odd, good = run(handler, [b"abcde", np.array([1.5], np.float32)])
        assert odd == (b"abcde", False, 0)
        assert good == (np.array([3.0], np.float32).tobytes(), True, 0)


def test_what_it_returns_says_what_becomes_of_the_message(broker, session, backend):
    @ipcq.handler
    def verdict(data, team, message, length):
        if team.rank == 0 and data[0] == ord("s"):
            length[0] = 1
        if team.rank == 0 and data[0] == ord("b"):
            length[0] = message.capacity + 1
        if data[0] == ord("d"):
            return DROP
        if data[0] == ord("r"):
            return REFUSE
        if data[0] == ord("f"):
            return 9
        return None

    seen = one_by_one(verdict, [b"dxx", b"sxx", b"rxx", b"fxx", b"bxx", b"axx"], broker, session, backend)
    assert seen == [(b"s", True, 0), (b"rxx", False, 0), (b"fxx", False, 9), (b"bxx", False, 1), (b"axx", True, 0)]


def test_it_is_told_what_is_known_of_the_message(broker, session, backend):
    @ipcq.handler(dtype="int64")
    def tell(data, team, message):
        if team.rank == 0:
            data[0] = message.ticket
            data[1] = message.sequence
            data[2] = message.record
            data[3] = message.producer
            data[4] = team.size

    seen = one_by_one(tell, [bytes(40)] * 3, broker, session, backend)
    told = [np.frombuffer(got, np.int64) for got, _, _ in seen]
    assert [list(one[:3]) for one in told] == [[0, 0, 0], [1, 1, 0], [2, 2, 0]]
    assert len({one[3] for one in told}) == 1
    assert all((one[4] == 1) == (backend == "host") for one in told)


def test_state_stays_from_message_to_message(run):
    @ipcq.handler(dtype="float32", state_dtype="float64")
    def sums(data, team, state):
        for i in range(team.rank, min(data.size, state.size), team.size):
            state[i] += data[i]
            data[i] = state[i]

    seen = run(sums, [np.full(8, n, np.float32) for n in (1, 2, 3)], state_bytes=8 * 8)
    assert [np.frombuffer(got, np.float32)[0] for got, _, _ in seen] == [1, 3, 6]


def test_a_queue_without_the_state_that_a_function_asks_for_is_refused(broker, session, backend):
    @ipcq.handler(dtype="int64", state_dtype="int64")
    def count(data, state):
        state[0] += 1
        data[0] = state[0]

    for options in ({}, {"state_bytes": 4}):
        with pytest.raises(ipcq.UsageError, match="it asks for state, elements of int64, and the queue has"):
            broker.create("without", slots=4, handler=count, backend=backend, **options)
    with pytest.raises(ipcq.UsageError, match="it does not ask for the 64 bytes of state"):
        broker.create("with", slots=4, handler=add, backend=backend, state_bytes=64)
    file = count.queue_option(backend)  # of a file nobody knows it before
    assert one_by_one(file, [bytes(8)], broker, session, backend) == [(bytes(8), False, 255)]


def test_a_code_that_is_none_counts_as_255(broker, session, backend):
    @ipcq.handler(dtype="int64")
    def returns(data):
        return data[0]

    codes = [0, 1, 255, 256 + 1, -1, 2**32, 2**40 + 3]
    seen = one_by_one(returns, [np.int64(code).tobytes() for code in codes], broker, session, backend)
    assert [failure for _, _, failure in seen] == [0, 1, 255, 255, 255, 255, 255]


def test_records_of_a_batch_are_handled_each(broker, session, backend):
    broker.create("records", slots=4, slot_bytes=4096, handler=add(n=2), batch="records", backend=backend)
    with session.producer("records") as producer, session.consumer("records") as consumer:
        producer.send_many([b"abc", b"A" * 100, b"z"])
        got = []
        while len(got) < 3:
            got += consumer.receive_records(timeout=WAIT)
    assert got == [b"cde", b"C" * 100, b"|"]


def test_elements_may_be_records_of_numpys(broker, session, backend):
    tick = np.dtype([("time", "u8"), ("price", "f8")])

    @ipcq.handler(dtype=tick)
    def later(data, team):
        for i in range(team.rank, data.size, team.size):
            data[i].price = data[i].price * 2
            data[i].time = data[i].time + 1

    rows = np.array([(1, 0.5), (7, 2.0)], dtype=tick)
    ((got, _, _),) = one_by_one(later, [rows], broker, session, backend)
    assert np.array_equal(np.frombuffer(got, tick), np.array([(2, 1.0), (8, 4.0)], dtype=tick))


def test_a_handler_answers_calls(broker, session, backend):
    broker.create("calls", slots=4, slot_bytes=4096, handler=add(n=1), calls=4, backend=backend)
    with session.client("calls") as client:
        assert client.call(b"GAK", timeout=WAIT).result(WAIT) == b"HBL"


def test_it_is_replaced_between_two_messages(broker, session, backend):
    broker.create("r", slots=4, slot_bytes=4096, handler=add(n=1), backend=backend)
    with session.producer("r") as producer, session.consumer("r") as consumer:
        producer.send(b"a")
        assert consumer.receive_bytes(timeout=WAIT) == b"b"
        broker.replace_handler("r", add(n=3))
        producer.send(b"a")
        assert consumer.receive_bytes(timeout=WAIT) == b"d"
    with pytest.raises(ipcq.NotFoundError, match="'none'"):
        broker.replace_handler("none", add)


def test_a_saved_file_is_a_handler_of_any_broker(broker, session, backend, tmp_path):
    file = add(n=4).save(tmp_path / "add.o", backend)
    broker.create("saved", slots=4, slot_bytes=4096, handler=file, backend=backend)
    with session.producer("saved") as producer, session.consumer("saved") as consumer:
        producer.send(b"a")
        assert consumer.receive_bytes(timeout=WAIT) == b"e"
    with pytest.raises(ipcq.UsageError, match=r"is to end in \.o"):
        add.save(tmp_path / "add.so")


def test_a_running_broker_takes_it(broker, session, backend, name):
    assert session is not None
    ipcq.create_queue("elsewhere", slots=4, slot_bytes=4096, handler=threshold, backend=backend, broker=name)
    assert queue_stats(broker, "elsewhere").backend == backend


def test_an_exception_of_numbas_own_fails_the_message_on_the_host(broker, session):
    @ipcq.handler
    def steps(data):
        for i in range(0, data.size, data[0]):
            data[i] = 1

    seen = one_by_one(steps, [b"\0abc", b"\1abc"], broker, session, "host")
    assert seen == [(b"\0abc", False, 255), (b"\1\1\1\1", True, 0)]


def test_the_python_function_can_be_tested_by_itself():
    data = np.array([1, 2, 3], np.uint8)
    add.function(data, Team(0, 1), n=2)
    assert data.tolist() == [3, 4, 5]
    assert threshold.function(100) == 0
    assert Message(0, 1, 2, 3, 4, 5).capacity == 5


@pytest.mark.parametrize("target", ["host", "cuda"])
def test_the_same_function_makes_the_same_file_in_each_process(tmp_path, target):
    """Else each run would link its image anew."""
    if target == "cuda" and importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed")
    script = tmp_path / "make.py"
    script.write_text(
        "import sys, ipcq\n@ipcq.handler\ndef step(data, team, n=1):\n"
        "    for i in range(team.rank, data.size, team.size):\n        data[i] += n\n"
        f"for n in map(int, sys.argv[1:]): path = step(n=n).queue_option('{target}')\nprint(path)\n"
    )
    # Numba's names differ by what was compiled before.
    runs = [["2"], ["2"], ["3", "2"]]
    made = {
        subprocess.run([sys.executable, script, *n], capture_output=True, text=True, check=True).stdout for n in runs
    }
    assert len(made) == 1

"""Dataclasses as messages: their schemas, their bytes as C++ has them, and what is no value."""

import asyncio
import json
import math
import random
import struct
import threading
from dataclasses import asdict, dataclass
from typing import Annotated

import ipcq
import numpy as np
import pytest
from ipcq import _core
from ipcq.fields import F32, I8, I16, U16, U32, U64, Chars, Fixed, Tensor


@dataclass
class Tick:
    time: U64
    price: float
    symbol: Annotated[str, Chars(8)]


@dataclass
class Point:
    x: F32
    y: F32


@dataclass
class Reading:
    sensor: U32
    ok: bool
    code: I8
    range: Annotated[list[float], Fixed(2)]
    grid: Annotated[list[Annotated[list[I16], Fixed(3)]], Fixed(2)]
    unit: str
    samples: list[float]
    points: list[Point]
    names: list[str]
    raw: bytes
    count: int


@dataclass
class Frame:
    number: U64
    image: Tensor


@dataclass
class Wrong:
    time: U64
    price: F32


def reading(rng):
    text = "".join(rng.choice("aäb€") for _ in range(rng.randrange(9)))
    return Reading(
        sensor=rng.randrange(2**32),
        ok=rng.random() < 0.5,
        code=rng.randrange(-128, 128),
        range=[rng.random(), -rng.random()],
        grid=[[rng.randrange(-9, 9) for _ in range(3)] for _ in range(2)],
        unit=text,
        samples=[rng.random() for _ in range(rng.randrange(20))],
        points=[Point(rng.randrange(9), 0.5) for _ in range(rng.randrange(5))],
        names=[text * k for k in range(rng.randrange(4))],
        raw=rng.randbytes(rng.randrange(30)),
        count=rng.randrange(-(2**63), 2**63),
    )


def test_schemas_are_those_of_c_plus_plus():
    """The texts of docs/guide/types.md, and offsets as a compiler has them."""
    assert ipcq.Schema(Tick).text == "Tick{time u64 @0; price f64 @8; symbol char[8] @16}24"
    assert ipcq.Schema(Frame).text == "Frame{number u64 @0; image tensor @8}136"
    assert ipcq.Schema(Reading).text == (
        "Reading{sensor u32 @0; ok bool @4; code i8 @5; range f64[2] @8; grid i16[2][3] @24; unit text @36; "
        "samples list<f64> @44; points list<Point{x f32 @0; y f32 @4}8> @52; names list<text> @60; raw list<u8> @68; "
        "count i64 @80}88"
    )
    assert ipcq.Schema(float).text == "f64"
    assert ipcq.Schema(list[Point]).text == "list<Point{x f32 @0; y f32 @4}8>"


def test_the_library_reads_what_python_has_written():
    rng = random.Random(15)
    schema = ipcq.Schema(Reading)
    for _ in range(100):
        value = reading(rng)
        payload = schema.encode(value)
        seen = json.loads(_core.to_json(schema.text, payload))
        want = asdict(value) | {"raw": list(value.raw)}
        assert seen == want
        assert schema.decode(payload) == value


def test_arrays_are_tensors():
    schema = ipcq.Schema(Frame)
    for array in (
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        np.array(7, np.uint8),
        np.zeros((0, 3), np.complex64),
        np.arange(24).reshape(2, 3, 4)[::-1, :, ::2],
    ):
        payload = schema.encode(Frame(3, array))
        back = schema.decode(payload)
        assert back.number == 3
        assert back.image.dtype == array.dtype
        assert back.image.shape == array.shape
        assert (back.image == array).all()
        seen = json.loads(_core.to_json(schema.text, payload))
        assert seen["image"]["shape"] == list(array.shape)
    assert schema.decode(schema.encode(Frame(1, None))).image is None


def test_values_go_from_process_to_process(broker, session):
    broker.create("ticks", slots=0)
    with session.producer("ticks", type=Tick) as producer, session.consumer("ticks", type=Tick) as consumer:
        assert consumer.try_receive() is None
        producer.send(Tick(1, 99.5, "ACME"))
        assert consumer.receive(timeout=5) == Tick(1, 99.5, "ACME")
        assert producer.send_many([Tick(k, math.pi * k, "X" * 8) for k in range(50)]) == 50
        values = []
        while len(values) < 50:
            values += consumer.receive_many(timeout=5)
        assert values == [Tick(k, math.pi * k, "X" * 8) for k in range(50)]
        assert producer.try_send(Tick(7, 0, ""))
        producer.close()
        assert list(consumer) == [Tick(7, 0, "")]
    stats = next(q for q in broker.stats().queues if q.name == "ticks")
    assert stats.schema == ipcq.Schema(Tick).text or stats.schema == ""


def test_another_type_is_refused_with_both_names(broker, session):
    broker.create("ticks", slots=0, schema=ipcq.Schema(Tick).text)
    with pytest.raises(ipcq.UsageError, match="Wrong"):
        session.producer("ticks", type=Wrong)
    with session.producer("ticks", type=Tick), pytest.raises(ipcq.UsageError, match="Tick"):
        session.consumer("ticks", type=Wrong)


def test_what_is_no_value_is_said_and_passed_over(broker, session):
    broker.create("readings", slots=4)
    with session.producer("readings") as raw, session.consumer("readings", type=Reading) as consumer:
        good = ipcq.Schema(Reading).encode(reading(random.Random(1)))
        bad_bool = bytearray(good)
        bad_bool[4] = 2
        far_text = bytearray(good)
        struct.pack_into("<II", far_text, 36, 2**31, 5)
        odd_list = bytearray(good)
        struct.pack_into("<II", odd_list, 44, 89, 1)
        for payload in (b"", good[:40], bad_bool, far_text, odd_list):
            raw.send(payload)
            with pytest.raises(ipcq.MalformedError, match="Reading"):
                consumer.receive(timeout=5)
        raw.send(good)
        assert consumer.receive(timeout=5) == reading(random.Random(1))
        stats = next(q for q in broker.stats().queues if q.name == "readings")
        assert stats.groups[0].held == 0


def test_lists_that_name_the_same_elements_over_and_over_are_refused():
    n = 50
    for of, element in ((list[list[list[bool]]], bytes(n)), (list[list[list[float]]], bytes(8 * n))):
        rows = struct.pack("<II", 8 + 8 * n, n) * n
        columns = struct.pack("<II", 8 + 16 * n, n) * n
        with pytest.raises(ipcq.MalformedError, match="over and over"):
            ipcq.Schema(of).decode(struct.pack("<II", 8, n) + rows + columns + element)
    texts = struct.pack("<II", 8, 1000) + struct.pack("<II", 0, 8000) * 1000
    with pytest.raises(ipcq.MalformedError, match="over and over"):
        ipcq.Schema(list[str]).decode(texts)


def test_hostile_tensors_are_refused():
    schema = ipcq.Schema(Frame)
    payload = bytearray(schema.encode(Frame(1, np.arange(16, dtype=np.float64).reshape(4, 4))))
    for place, form, value in (
        (8 + 0, "<B", 9),  # kind
        (8 + 1, "<B", 24),  # bits
        (8 + 2, "<H", 2),  # lanes
        (8 + 4, "<I", 9),  # dimensions
        (8 + 8, "<Q", 2**63),  # place
        (8 + 8, "<Q", 257),
        (8 + 32, "<I", 2**31),  # extent
        (8 + 64, "<q", 2**62),  # stride
        (8 + 64, "<q", -(2**40)),
    ):
        spoiled = bytearray(payload)
        struct.pack_into(form, spoiled, place, value)
        with pytest.raises(ipcq.MalformedError):
            schema.decode(bytes(spoiled))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Tick(-1, 0.0, ""), "time"),
        (Tick(2**64, 0.0, ""), "time"),
        (Tick(0, "much", ""), "price"),  # type: ignore[arg-type]
        (Tick(0, 0.0, "too long a name"), "symbol"),
        (Tick(0, 0.0, 5), "symbol"),  # type: ignore[arg-type]
        (Point(0, 0), "Tick"),
    ],
)
def test_a_field_that_cannot_be_is_named(value, words):
    with pytest.raises(ipcq.UsageError, match=words):
        ipcq.Schema(Tick).encode(value)


def test_a_type_that_cannot_travel_is_refused():
    @dataclass
    class Odd:
        what: dict[str, int]

    with pytest.raises(ipcq.UsageError, match="cannot travel"):
        ipcq.Schema(Odd)

    @dataclass
    class Empty:
        pass

    with pytest.raises(ipcq.UsageError, match="no fields"):
        ipcq.Schema(Empty)


def test_values_that_cpp_puts_beside_the_payload_are_read(broker, session):
    """A typed loan of C++ has its struct in the metadata, and only what that refers to in the slot."""
    broker.create("frames", slots=2, slot_bytes=4096, metadata=256)
    with session.producer("frames") as raw, session.consumer("frames", type=Frame) as consumer:
        whole = ipcq.Schema(Frame).encode(Frame(9, np.arange(8, dtype=np.uint8)))
        value = bytearray(whole[:136])
        struct.pack_into("<Q", value, 16, 0)  # the elements come first in the slot
        with raw.loan(timeout=5) as slot:
            slot.write(bytes(range(8)))
            slot.set_metadata(value)
            slot.publish(8)
        frame = consumer.receive(timeout=5)
        assert frame.number == 9
        assert frame.image.tolist() == list(range(8))


@dataclass
class Question:
    number: U16
    words: list[str]


@dataclass
class Answer:
    price: float
    name: str


def test_calls_have_types(broker, session):
    broker.create("engine", slots=8, slot_bytes=1024, calls=8)

    def answer(question):
        if question.number == 13:
            raise ipcq.Failure(5, "unlucky")
        return Answer(question.number / 2, "-".join(question.words))

    with (
        session.client("engine", type=Question, result_type=Answer, reply_bytes=500) as client,
        session.server("engine", type=Question, result_type=Answer) as server,
        session.client("engine") as raw,
    ):
        thread = threading.Thread(target=server.serve, args=(answer,), daemon=True)
        thread.start()
        assert client.call(Question(3, ["red", "bicycle"])).result(timeout=5) == Answer(1.5, "red-bicycle")
        with pytest.raises(ipcq.CallFailed) as failed:
            client.call(Question(13, [])).result(timeout=5)
        assert failed.value.code == 5
        with pytest.raises(ipcq.CallFailed, match="Question") as failed:
            raw.call(b"x").result(timeout=5)
        assert failed.value.code == 0xFFFFFFFF

        async def main():
            assert await client.call(Question(4, ["a"])) == Answer(2, "a")
            assert await client.call_async(Question(6, [])) == Answer(3, "")

        asyncio.run(main())
        server.close()
        thread.join(10)
        assert not thread.is_alive()
    with pytest.raises(ipcq.UsageError, match="belong together"):
        session.client("engine", type=Question)


def test_a_loop_receives_values(broker, session):
    broker.create("points", slots=0)

    async def main():
        with session.producer("points", type=Point) as producer:
            for k in range(5):
                await producer.send_async(Point(k, HALVES[k]))
        return [p async for p in consumer]

    with session.consumer("points", type=Point) as consumer:
        assert asyncio.run(main()) == [Point(k, HALVES[k]) for k in range(5)]


HALVES = (0.0, 0.5, 1.0, 1.5, 2.0)

"""ipcq.redis: tasks that are added, once, now or later."""

import asyncio
import threading
import time

import ipcq
import ipcq.redis
import numpy as np
import pytest
from conftest import InThread, eventually, library
from ipcq.redis import AsyncProducer, Producer, Task
from redis_fixtures import bridge, client, read, server, work  # noqa: F401 - fixtures


def test_what_has_a_buffer_is_added_as_its_bytes(client):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    times = np.array(["2026-01-01"], dtype="datetime64[s]")
    payloads = [
        b"bytes",
        bytearray(b"array"),
        memoryview(b"view"),
        "größer",
        array,
        array.T,
        times,
        np.float32(1.5),
        b"",
    ]
    ids = [Producer(client, "tasks").add(payload) for payload in payloads]
    assert len(set(ids)) == len(ids)
    wanted = [b"bytes", b"array", b"view", "größer".encode(), array.tobytes(), array.T.tobytes(), times.tobytes()]
    wanted += [np.float32(1.5).tobytes(), b""]
    assert [fields[b"payload"] for fields in read(client)] == wanted
    assert [id.decode() for id, _ in client.xrange("tasks")] == ids


@pytest.mark.parametrize("payload", [3, 1.5, True, object(), ["a"]])
def test_what_has_no_buffer_is_refused(client, payload):
    with pytest.raises(TypeError, match=f"not {type(payload).__name__}"):
        Producer(client, "tasks").add(payload)
    assert client.exists("tasks") == 0


def test_fields_stand_beside_the_payload(client):
    producer = Producer(client, "tasks", field="data")
    assert producer.stream == "tasks"
    producer.add(b"x", fields={"text": "é", "count": 3, "price": 1.5, "raw": b"\xff"}, reply_to="key:answer")
    producer.add(None, fields={"payload-key": "large"})
    assert read(client) == [
        {
            b"data": b"x",
            b"text": "é".encode(),
            b"count": b"3",
            b"price": b"1.5",
            b"raw": b"\xff",
            b"reply-to": b"key:answer",
        },
        {b"payload-key": b"large"},
    ]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"payload": None}, "has a payload, or fields"),
        ({"payload": b"", "fields": {"payload": b"x"}}, "has a meaning of its own"),
        ({"payload": b"", "fields": {"ipcq-id": b"x"}}, "has a meaning of its own"),
        ({"payload": b"", "fields": {"reply-to": b"x"}}, "has a meaning of its own"),
        ({"payload": b"", "reply_to": ""}, "names no place"),
        ({"payload": b"", "key": ""}, "key is empty"),
        ({"payload": b"", "delay": -1}, "delay is -1"),
        ({"payload": b"", "key": "a", "key_ttl": float("nan")}, "key_ttl is nan"),
    ],
)
def test_what_makes_no_task_is_refused(client, arguments, what):
    with pytest.raises(ipcq.UsageError, match=what):
        Producer(client, "tasks").add(**arguments)
    assert client.exists("tasks") == 0


def test_a_task_is_added_once_by_its_key_whoever_adds_it(server):
    producers = [Producer(server.client(), "tasks") for _ in range(2)]
    barrier = threading.Barrier(2)

    def add(producer):
        ids = []
        for number in range(20):
            barrier.wait(10)
            ids.append(producer.add(b"%d" % number, key=f"order-{number}"))
        return ids

    first, second = [InThread(lambda one=one: add(one)) for one in producers]
    assert first.result() == second.result()
    assert [fields[b"payload"] for fields in read(server.client())] == [b"%d" % number for number in range(20)]


def test_a_key_is_remembered_as_long_as_it_says(client):
    producer = Producer(client, "tasks")
    first = producer.add(b"a", key="k", key_ttl=0.05)
    time.sleep(0.2)
    assert producer.add(b"a", key="k") != first
    assert client.xlen("tasks") == 2
    assert 86000 < client.ttl("tasks:added:k") <= 86400


def test_a_script_that_the_server_has_forgotten_is_loaded_again(client):
    producer = Producer(client, "tasks")
    id = producer.add(b"a", key="k")
    client.script_flush()
    assert producer.add(b"a", key="k") == id
    client.script_flush()
    assert producer.add_many([Task(b"a", key="k"), Task(b"b", key="other")])[0] == id


def test_a_delayed_task_is_worked_on_when_it_is_due(client, work, bridge):
    producer = Producer(client, "tasks")
    with bridge():
        begin = time.monotonic()
        id = producer.add(b"later", delay=0.4, key="k")
        assert producer.add(b"later", delay=0.4, key="k") == id
        assert (client.zcard("tasks:delayed"), client.xlen("tasks:results")) == (1, 0)
        result = next(ipcq.redis.results(client, "tasks"))
        assert time.monotonic() - begin >= 0.4
    assert (result.id, result.result) == (id, b"LATER")
    assert client.xlen("tasks:results") == 1


def test_many_tasks_are_added_in_batches_and_in_order(client):
    producer = Producer(client, "tasks")
    producer.add(b"300", key="300")
    tasks = (Task(b"%d" % n, key=str(n)) if n % 3 == 0 else b"%d" % n for n in range(600))
    ids = producer.add_many(tasks)
    there = {id.decode(): fields[b"payload"] for id, fields in client.xrange("tasks")}
    assert len(there) == 600
    assert [there[id] for id in ids] == [b"%d" % n for n in range(600)]
    assert producer.add_many([]) == []
    delayed = producer.add_many([Task(b"x", delay=60), "text", Task("y", reply_to="list:answers", fields={"a": 1})])
    assert len(set(delayed)) == 3
    assert client.zcard("tasks:delayed") == 1
    assert read(client)[-1] == {b"payload": b"y", b"a": b"1", b"reply-to": b"list:answers"}


def test_a_wrong_task_among_many_is_refused(client):
    with pytest.raises(TypeError, match="not int"):
        Producer(client, "tasks").add_many([b"a", 3])
    assert client.exists("tasks") == 0


@pytest.mark.parametrize("options", [{"decode_responses": True}, {"protocol": 2}, {"protocol": 3}], ids=str)
def test_any_client_will_do(server, options):
    producer = Producer(server.client(**options), "tasks")
    first = producer.add(b"\xff", key="k")
    assert producer.add_many([Task(b"", key="k"), b"\xfe"])[0] == first
    assert [fields[b"payload"] for fields in read(server.client())] == [b"\xff", b"\xfe"]


def test_tasks_are_added_in_an_event_loop(server, run):
    async def main():
        async with server.async_client() as client:
            producer = AsyncProducer(client, "tasks")
            assert producer.stream == "tasks"
            once = await asyncio.gather(*[producer.add(b"a", key="k") for _ in range(4)])
            assert len(set(once)) == 1
            later = await producer.add("b", delay=60, fields={"n": 1})
            many = await producer.add_many([b"c", Task(b"d", key="k"), Task(b"e", key="e")])
            assert many[1] == once[0]
            assert later not in many

    run(main())
    assert [fields[b"payload"] for fields in read(server.client())] == [b"a", b"c", b"e"]
    assert server.client().zcard("tasks:delayed") == 1


def test_a_client_of_the_other_kind_is_refused(server):
    redis = library("redis")
    with pytest.raises(TypeError, match=r"redis\.Redis .*pip install 'ipcq\[redis\]'"):
        Producer(redis.asyncio.Redis(), "tasks")
    with pytest.raises(TypeError, match=r"redis\.asyncio\.Redis .*not Redis"):
        AsyncProducer(redis.Redis(), "tasks")
    with pytest.raises(TypeError, match="not str"):
        ipcq.redis.call("redis://", "tasks", b"")


def test_what_the_server_refuses_is_raised_as_the_client_says_it(client):
    redis = library("redis")
    client.set("tasks", "no stream")
    for key in (None, "k"):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            Producer(client, "tasks").add(b"a", key=key)
    eventually(lambda: not client.exists("tasks:added:k"), "nothing says that it was added")

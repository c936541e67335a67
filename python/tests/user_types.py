"""A user's program for type checkers (scripts/test-python): it is not run."""

import ipcq
import ipcq.redis
import numpy as np
import redis
import redis.asyncio


def f(session: ipcq.Session) -> None:
    p = session.producer("q")
    p.send(np.zeros(3))
    p.send_array(np.zeros(3, dtype=np.float32))
    p.try_send(b"x")
    with p.loan(shape=(3,), dtype=np.float32) as s:
        np.asarray(s)[:] = 1
    b = ipcq.Buffer((3,), np.dtype("float32"))
    assert np.from_dlpack(b.host()).shape == (3,)


def g(client: redis.Redis) -> None:
    with ipcq.redis.Bridge("q", streams=["tasks,priority=1"], claim_after=5, trim=True, wait="sleep") as bridge:
        producer = ipcq.redis.Producer(client, bridge.queue)
        ids: list[str] = producer.add_many([b"a", "b", np.zeros(3), ipcq.redis.Task(b"c", key="c", fields={"n": 1})])
        assert ids[0] == producer.add(b"a", key="a", delay=0.5)
        assert ipcq.redis.call(client, "tasks", np.zeros(3), timeout=1).hex()
        for result in ipcq.redis.results(client, "tasks", since="$", timeout=1):
            print(result.id, result.part, result.result is None)
        ipcq.redis.requeue(client, "tasks", [letter.id for letter in ipcq.redis.dead_letters(client, "tasks")])
        assert bridge.counters().done <= bridge.counters().read
    assert bridge.summary().seconds > 0.0


async def h(client: redis.asyncio.Redis) -> str:
    async for result in ipcq.redis.results_async(client, "tasks"):
        print(result.entry, (await ipcq.redis.call_async(client, "tasks", b"x")).hex())
    return await ipcq.redis.AsyncProducer(client, "tasks").add(b"a")

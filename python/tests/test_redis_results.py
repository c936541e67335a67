"""ipcq.redis: calls, results and dead letters, with a bridge between the server and a queue."""

import time

import ipcq
import ipcq.redis
import pytest
from conftest import InThread, eventually, library
from ipcq.redis import DeadLetter, Producer, Result, TaskDead, call, dead_letters, requeue, results
from redis_fixtures import asked, bridge, client, server, work  # noqa: F401 - fixtures


def fail(request):
    raise ipcq.Failure(7, "it is broken")


def test_results_come_back_by_the_ids_of_their_tasks(client, work, bridge):
    with bridge():
        ids = Producer(client, "tasks").add_many([b"a", b"b", "ü"])
        stream = results(client, "tasks", timeout=5)
        found = [next(stream) for _ in ids]
    assert {one.id: one.result for one in found} == dict(zip(ids, [b"A", b"B", "ü".encode()], strict=True))
    assert [one.part for one in found] == [1, 1, 1]
    assert found == list(results(client, "tasks", follow=False))
    assert found[1:] == list(results(client, "tasks", follow=False, since=found[0].entry))


def test_results_end_when_nothing_came_for_a_while(client):
    for number in range(250):  # more than one page
        client.xadd("tasks:results", {"id": f"{number}-0", "result": b"x"})
    client.xadd("tasks:results", {"something": "else"})
    begin = time.monotonic()
    assert [one.id for one in results(client, "tasks", timeout=0.2)] == [f"{number}-0" for number in range(250)]
    assert time.monotonic() - begin >= 0.2
    assert list(results(client, "other", timeout=0)) == []
    assert list(results(client, "other", key="tasks:results", since="$", timeout=0)) == []


def test_new_results_are_those_from_the_call_on(client):
    client.xadd("tasks:results", {"id": "1-0", "result": b"old"})
    new = results(client, "tasks", since="$", timeout=5)
    client.xadd("tasks:results", {"id": "2-0", "result": b"new"})
    assert next(new).result == b"new"
    waiting = InThread(lambda: next(new))
    time.sleep(0.1)
    client.xadd("tasks:results", {"id": "3-0", "result": b"newer", "part": 2})
    assert (waiting.result().result, waiting.result().part) == (b"newer", 2)


def test_a_place_that_is_none_is_refused(client):
    with pytest.raises(ipcq.UsageError, match="since is 'yesterday'"):
        results(client, "tasks", since="yesterday")


def test_results_go_on_over_bridges(client, work, bridge):
    producer = Producer(client, "tasks")
    stream = results(client, "tasks", timeout=10)
    seen = {}
    ids = []
    for word in (b"one", b"two", b"three"):
        with bridge():
            ids.append(producer.add(word))
            result = next(stream)
            seen[result.id] = result.result
        ids.append(producer.add(word + b" between"))  # while there is none
    with bridge(until_empty=True) as last:
        assert last.wait(10) == 0
    seen.update({one.id: one.result for one in results(client, "tasks", timeout=0)})
    assert list(seen) != []
    assert seen == {
        id: word + rest
        for id, (word, rest) in zip(
            ids, [(w, r) for w in (b"ONE", b"TWO", b"THREE") for r in (b"", b" BETWEEN")], strict=True
        )
    }
    assert client.xlen("tasks:results") == 6


def test_a_large_result_is_read_from_its_key(server, client, work, bridge):
    with bridge(inline_result=10):
        small, large = Producer(client, "tasks").add_many([b"a" * 10, b"b" * 11])
        stream = results(client, "tasks", timeout=5)
        found = {one.id: one for one in (next(stream), next(stream))}
    assert (found[small].result, found[large].result) == (b"A" * 10, b"B" * 11)
    client.delete(f"tasks:results:{large}")
    gone = {one.id: one.result for one in results(server.client(decode_responses=True), "tasks", follow=False)}
    assert gone == {small: b"A" * 10, large: None}


def test_a_task_may_have_several_results(client, asked, bridge):
    asked(lambda request: (bytes([letter]) for letter in bytes(request)))
    with bridge():
        assert call(client, "tasks", b"abc", timeout=5) == b"abc"
    assert [(one.result, one.part) for one in results(client, "tasks", follow=False)] == [
        (b"a", 1),
        (b"b", 2),
        (b"c", 3),
    ]


@pytest.mark.parametrize(
    "options", [{}, {"decode_responses": True}, {"protocol": 2}, {"protocol": 3}, {"socket_timeout": 0.1}], ids=str
)
def test_a_call_waits_for_its_result(server, work, bridge, options):
    client = server.client(**options)
    waiting = InThread(lambda: call(client, "tasks", b"\xffhello", timeout=10))
    time.sleep(0.3)  # longer than the shortest of the clients takes for a dead connection
    with bridge():
        assert waiting.result() == b"\xffHELLO"
        assert call(client, "tasks", "more", 10, fields={"beside": 1}) == b"MORE"
        assert call(client, "tasks", b"") == b""
    assert server.client().keys("tasks:reply:*") == []


def test_a_call_raises_why_its_task_is_dead(client, asked, bridge):
    asked(fail)
    with bridge(attempts=2, backoff=0.01):
        with pytest.raises(TaskDead, match="it is broken") as raised:
            call(client, "tasks", b"x", timeout=10)
        with pytest.raises(TaskDead, match="exceeds the 8192"):
            call(client, "tasks", b"x" * 9000, timeout=10)
    letter, large = dead_letters(client, "tasks")
    assert (raised.value.id, raised.value.reason) == (letter.origin, letter.reason)
    assert (letter.attempt, len(large.fields["payload"])) == (2, 9000)
    assert client.keys("tasks:reply:*") == []


def test_a_call_that_is_not_answered_in_time_says_so(client):
    for timeout in (0, 0.1):
        begin = time.monotonic()
        with pytest.raises(ipcq.TimeoutError, match=rf"stream 'tasks': task \d+-\d+ has no answer within {timeout} s"):
            call(client, "tasks", b"x", timeout=timeout)
        assert timeout <= time.monotonic() - begin < 5
    assert client.xlen("tasks") == 2


def test_dead_letters_say_what_they_were_and_go_back(client, asked, bridge):
    broken = True

    def answer(request):
        if broken:
            fail(request)
        return bytes(request).upper()

    asked(answer)
    ids = [Producer(client, "tasks").add(f"task {number}", fields={"number": number}) for number in range(3)]
    with bridge(attempts=1) as one:
        eventually(lambda: client.xlen("tasks:dead") == 3, "all have failed")
        letters = {letter.origin: letter for letter in dead_letters(client, "tasks")}
        assert sorted(letters) == sorted(ids)
        letter = letters[ids[1]]
        assert letter == DeadLetter(letter.id, ids[1], 1, letter.reason, {"payload": b"task 1", "number": b"1"})
        assert "it is broken" in letter.reason
        broken = False
        assert requeue(client, "tasks", [letter.id, letter.id, "1-0"]) == 1
        assert requeue(client, "tasks", [letter.id]) == 0
        assert requeue(client, "tasks", [ids[2], letters[ids[2]].id]) == 1  # by its task's id, too
        assert requeue(client, "tasks") == 1
        stream = results(client, "tasks", timeout=5)
        found = {result.id: result.result for result in (next(stream), next(stream), next(stream))}
        assert found == {id: b"TASK %d" % number for number, id in enumerate(ids)}
        assert one.counters().dead == 3
    assert list(dead_letters(client, "tasks")) == []


def test_more_dead_letters_than_a_page_go_back(client):
    for number in range(250):
        client.xadd("tasks:dead", {"payload": number, "ipcq-id": f"{number}-0", "ipcq-attempt": 5, "ipcq-reason": "no"})
    ids = [letter.id for letter in dead_letters(client, "tasks")]
    assert len(set(ids)) == 250
    assert requeue(client, "tasks", most=0) == 0
    assert requeue(client, "tasks", most=120) == 120
    assert requeue(client, "tasks", [*ids[:230], "1-1"]) == 110
    assert requeue(client, "tasks") == 20
    assert [fields[b"ipcq-id"] for _, fields in client.xrange("tasks")] == [b"%d-0" % number for number in range(250)]
    assert requeue(client, "tasks", most=5) == 0


def test_what_cannot_be_put_back_is_refused(client):
    for arguments in ({"ids": ["1-0"], "most": 1}, {"ids": "1-0"}, {"most": -1}):
        with pytest.raises(ipcq.UsageError, match="requeue"):
            requeue(client, "tasks", **arguments)


def test_dead_letters_of_a_list_have_no_task_of_a_name(client, asked, bridge):
    asked(fail)
    with bridge(streams=None, lists=["jobs"], attempts=1):
        client.rpush("jobs", b"x")
        eventually(lambda: client.xlen("jobs:dead") == 1, "it has failed")
    (letter,) = dead_letters(client, "jobs")
    assert (letter.origin, letter.attempt, letter.fields) == (None, 1, {"payload": b"x"})
    assert client.llen("jobs") == 0
    assert requeue(client, "jobs") == 1
    assert client.lrange("jobs", 0, -1) == [b"x"]


def test_an_event_loop_calls_and_reads(server, asked, bridge, run):
    asked(lambda request: fail(request) if bytes(request) == b"bad" else bytes(request)[::-1])
    bridge(attempts=1)

    async def main():
        async with server.async_client() as client:
            new = ipcq.redis.results_async(client, "tasks", since="$", timeout=5)
            assert await ipcq.redis.call_async(client, "tasks", b"abc", timeout=5) == b"cba"
            with pytest.raises(TaskDead, match="it is broken"):
                await ipcq.redis.call_async(client, "tasks", b"bad", timeout=5)
            with pytest.raises(ipcq.TimeoutError):
                await ipcq.redis.call_async(client, "nobody", b"", timeout=0.05)
            found = [one async for one in ipcq.redis.results_async(client, "tasks", timeout=0.1)]
            assert [one.result for one in found] == [b"cba"]
            letters = [one async for one in ipcq.redis.dead_letters_async(client, "tasks")]
            assert [one.fields["payload"] for one in letters] == [b"bad"]
            assert await ipcq.redis.requeue_async(client, "tasks", [letters[0].id]) == 1
            assert await ipcq.redis.requeue_async(client, "elsewhere") == 0
            async with server.async_client() as other:
                waiting = ipcq.redis.call_async(other, "tasks", b"xyz", timeout=5)
                assert await waiting == b"zyx"
            await new.aclose()

    run(main())


def test_a_connection_that_fails_ends_the_results_and_their_place_is_known(server):
    redis = library("redis")
    client = server.client(retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
    client.xadd("tasks:results", {"id": "1-0", "result": b"x"})
    stream = results(client, "tasks")
    first = next(stream)
    assert isinstance(first, Result)
    waiting = InThread(lambda: next(stream))
    other = server.client()
    eventually(lambda: other.info("clients")["blocked_clients"] == 1, "it waits")
    other.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(redis.ConnectionError):
        waiting.result()
    other.xadd("tasks:results", {"id": "2-0", "result": b"y"})
    assert [one.id for one in results(client, "tasks", since=first.entry, follow=False)] == ["2-0"]

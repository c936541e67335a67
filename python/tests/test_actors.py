"""What every actor does, in each tier."""

import asyncio
import threading
import time

import actor_samples as samples
import ipcq
import numpy as np
import pytest
from actor_samples import Note, Reading, Score
from conftest import WAIT, InThread, eventually
from ipcq.actors import FailureCode


def test_a_message_of_a_dataclass_is_answered_by_one(launch):
    ref = launch(samples.score)
    assert ref.ask(Reading(3, 1.5), timeout=WAIT) == Score(3, 3.0)


def test_text_and_lists_of_any_length_travel(launch):
    ref = launch(samples.turn)
    text, numbers = "größer" * 500, list(range(3000))
    assert ref.ask(Note(text, numbers), timeout=WAIT) == Note(text[::-1], numbers[::-1])


@pytest.mark.parametrize("length", [0, 1, 96, 97, 224, 225, 5000, 65536])
def test_bytes_of_each_length_come_back(launch, length):
    message = bytes(i % 251 for i in range(length))
    assert launch(samples.echo).ask(message, timeout=WAIT) == message


def test_a_handler_that_returns_nothing_answers_by_an_empty_reply(launch):
    assert launch(samples.nothing).ask(b"x", timeout=WAIT) == b""


@pytest.mark.parametrize("actor", [samples.double, samples.double_in_place])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.int16).reshape(3, 4),
        np.arange(12, dtype=np.float64).reshape(3, 4).T[::2],
        np.float32(3.5),
        np.zeros((0, 3)),
        np.ones((30, 40, 5), np.complex64),
    ],
    ids=["int16", "strides", "scalar", "empty", "complex"],
)
def test_arrays_keep_shape_and_type(launch, actor, array):
    result = launch(actor).ask(array, timeout=WAIT)
    assert result.dtype == np.asarray(array).dtype
    assert result.shape == np.shape(array)
    assert (result == array * 2).all()


def test_an_array_that_an_actor_keeps_outlives_its_message(launch):
    ref = launch(samples.Latest)
    for i in range(5):
        before = ref.ask(np.full(1000, i + 1), timeout=WAIT)
        assert (before == i).all()


def test_an_array_beyond_the_room_of_a_message_is_refused_with_the_remedy(launch):
    ref = launch(samples.double, message_bytes=4096)
    with pytest.raises(ipcq.UsageError, match="message_bytes"):
        ref.ask(np.zeros(4096, np.uint8), timeout=WAIT)


def test_a_class_keeps_state_between_messages(launch):
    ref = launch(samples.Counter, args=(40,))
    assert [ref.ask(b"", timeout=WAIT) for _ in range(3)] == [b"41", b"42", b"43"]


def test_a_class_of_coroutines_keeps_state_and_awaits_its_hook(launch):
    ref = launch(samples.CounterAsync, kwargs={"first": 7})
    assert [ref.ask(b"", timeout=WAIT) for _ in range(3)] == [b"8", b"9", b"10"]


def test_hooks_are_called_when_a_worker_begins_and_ends(launch, runtime, tmp_path):
    launch(samples.Counter, "counter", kwargs={"log": str(tmp_path / "log")})
    runtime.terminate("counter")
    assert [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()] == ["init", "start", "stop"]


def test_an_exception_fails_its_call_with_its_text_and_the_actor_goes_on(launch, runtime):
    ref = launch(samples.score, "score")
    with pytest.raises(ipcq.CallFailed, match="sensor 7 is broken") as caught:
        ref.ask(Reading(7, -1.0), timeout=WAIT)
    assert caught.value.code == 1
    assert ref.ask(Reading(1, 1.0), timeout=WAIT) == Score(1, 2.0)
    assert runtime.state("score") is ipcq.ActorState.ACTIVE


def test_a_failure_has_the_code_of_the_handler(launch):
    with pytest.raises(ipcq.CallFailed, match="no such sensor") as caught:
        launch(samples.score).ask(Reading(1, 404.0), timeout=WAIT)
    assert caught.value.code == 404


def test_a_generator_answers_by_several_replies(launch):
    ref = launch(samples.letters)
    assert list(ref.stream(b"hello", timeout=WAIT)) == [b"h", b"e", b"l", b"l", b"o"]
    assert list(ref.stream(b"", timeout=WAIT)) == []
    assert ref.ask(b"xyz", timeout=WAIT) == b"x"
    with pytest.raises(ipcq.EndOfStream):
        ref.ask(b"", timeout=WAIT)


def test_a_generator_that_raises_fails_behind_what_it_has_sent(launch):
    seen = []
    with pytest.raises(ipcq.CallFailed, match="no letter"):
        for letter in launch(samples.letters).stream(b"ab!c", timeout=WAIT):
            seen.append(letter)
    assert seen == [b"a", b"b"]


def test_a_caller_that_leaves_a_stream_holds_nobody_up(launch, runtime):
    ref = launch(samples.letters, "letters")
    for letter in ref.stream(b"abcdef", timeout=WAIT):
        assert letter == b"a"
        break
    assert list(ref.stream(b"xy", timeout=WAIT)) == [b"x", b"y"]
    eventually(lambda: runtime.telemetry("letters").completed == 2, "both were counted")


def test_an_async_generator_answers_by_several_replies(launch, run):
    ref = launch(samples.letters_async)
    assert list(ref.stream(b"abc", timeout=WAIT)) == [b"a", b"b", b"c"]

    async def main():
        return [letter async for letter in ref.stream_async(b"abc", timeout=WAIT)]

    assert run(main()) == [b"a", b"b", b"c"]


def test_many_requests_of_an_event_loop_are_in_flight_at_once(launch, run):
    ref = launch(samples.fetch, queue_size=16, concurrency=64)

    async def main():
        begun = time.monotonic()
        replies = await asyncio.gather(*[ref.ask_async(b"%d" % i, timeout=WAIT) for i in range(100, 300)])
        return replies, time.monotonic() - begun

    replies, took = run(main())
    assert replies == [(b"%d" % i)[::-1] for i in range(100, 300)]
    assert took < 200 * 0.02, "they were worked on one after another"


def test_a_queue_that_lets_a_worker_hold_less_than_its_concurrency_goes_on(launch, run):
    ref = launch(samples.fetch, held=2, concurrency=64)

    async def main():
        return await asyncio.gather(*[ref.ask_async(b"%d" % i, timeout=WAIT) for i in range(20)])

    assert run(main()) == [(b"%d" % i)[::-1] for i in range(20)]


def test_an_async_task_that_is_cancelled_leaves_the_actor_alone(launch, run):
    ref = launch(samples.fetch)

    async def main():
        task = asyncio.ensure_future(ref.ask_async(b"abc"))
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return await ref.ask_async(b"xyz", timeout=WAIT)

    assert run(main()) == b"zyx"


def test_ask_is_refused_in_an_event_loop(launch, run):
    ref = launch(samples.echo)

    async def main():
        with pytest.raises(ipcq.UsageError, match="ask_async"):
            ref.ask(b"x")
        with pytest.raises(ipcq.UsageError, match="stream_async"):
            next(ref.stream(b"x"))

    run(main())


def test_messages_of_one_caller_come_in_order(launch):
    ref = launch(samples.Counter, queue_size=8)
    for _ in range(300):
        ref.tell(b"")
    assert ref.ask(b"", timeout=WAIT) == b"301"
    assert ref.flush(WAIT) == 0


def test_told_messages_that_fail_are_counted_and_logged(launch, caplog):
    ref = launch(samples.score)
    for i in range(20):
        ref.tell(Reading(i, -1.0 if i % 5 == 0 else 1.0))
    assert ref.flush(WAIT) == 4
    assert ref.flush(WAIT) == 0
    told = [record.getMessage() for record in caplog.records if "it was told failed" in record.getMessage()]
    assert len(told) == 4
    assert all("is broken" in text for text in told)


def test_a_told_generator_runs_to_its_end(launch, runtime):
    ref = launch(samples.letters, "letters")
    ref.tell(b"abc")
    ref.tell(b"ab!")
    assert ref.flush(WAIT) == 1
    eventually(lambda: runtime.telemetry("letters").completed == 1, "counted")


def test_tell_waits_for_room_and_times_out(launch, runtime):
    ref = launch(samples.echo, "echo", queue_size=4)
    runtime.deactivate("echo")
    for _ in range(4):
        ref.tell(b"x", timeout=WAIT)
    with pytest.raises(ipcq.TimeoutError):
        ref.tell(b"x", timeout=0.1)
    blocked = InThread(lambda: ref.tell(b"y"))
    time.sleep(0.05)
    assert blocked.is_alive()
    runtime.reactivate("echo")
    blocked.result()
    assert ref.flush(WAIT) == 0


def test_tell_in_an_event_loop_waits_by_the_loop(launch, run):
    ref = launch(samples.echo, queue_size=4)

    async def main():
        for _ in range(100):
            await ref.tell_async(b"x", timeout=WAIT)

    run(main())
    assert ref.flush(WAIT) == 0


def test_a_deadline_ends_the_wait_and_not_the_actor(launch):
    ref = launch(samples.Counter)
    if ref.ask(b"", timeout=WAIT) == b"1":
        with pytest.raises(ipcq.Expired):
            ref.ask(b"sleep 0.3", timeout=0.05)
        assert ref.ask(b"", timeout=WAIT) == b"3"


def test_threads_share_a_reference(launch):
    ref = launch(samples.echo)

    def ask(k):
        return [ref.ask(b"%d-%d" % (k, i), timeout=WAIT) for i in range(50)]

    callers = [InThread(lambda k=k: ask(k)) for k in range(4)]
    for k, caller in enumerate(callers):
        assert caller.result() == [b"%d-%d" % (k, i) for i in range(50)]


def test_an_actor_asks_another(launch):
    echo = launch(samples.echo)
    assert launch(samples.AsksAsync, "outer", args=(echo,)).ask(b"xyz", timeout=WAIT) == b"<yz>"


def test_messages_that_wait_at_the_end_are_worked_off(launch, runtime):
    ref = launch(samples.Counter, "counter")
    calls = [threading.Thread(target=ref.tell, args=(b"",)) for _ in range(10)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert runtime.terminate("counter") == 0
    assert ref.flush(WAIT) == 0
    assert runtime.telemetry("counter").completed == 10


def test_what_is_left_after_the_drain_fails_with_the_reason(launch, runtime):
    ref = launch(samples.Counter, "counter")
    slow = InThread(lambda: ref.ask(b"sleep 0.5", timeout=WAIT))
    eventually(lambda: runtime.telemetry("counter").in_flight == 1, "it works")
    runtime.deactivate("counter")  # so that a tier that takes several does not
    waiting = [InThread(lambda: ref.ask(b"", timeout=WAIT)) for _ in range(3)]
    eventually(lambda: runtime.telemetry("counter").waiting == 3, "they wait")
    assert runtime.terminate("counter", drain=0.05) == 3
    assert slow.result() == b"1"
    for one in waiting:
        with pytest.raises(ipcq.CallFailed, match="'counter' was terminated") as caught:
            one.result()
        assert caught.value.code == FailureCode.TERMINATED
    assert runtime.telemetry("counter").rejected == 3

"""``ipcq.progress()``: what its bar shows, and that the loop is the consumer's all the same."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import re
import sys
import threading
import time
from dataclasses import dataclass

import ipcq
import pytest
from conftest import WAIT, InThread, eventually, group_stats

LENGTH = 1000  # bytes of a message that needs a slot


@pytest.fixture
def tqdm():
    return pytest.importorskip("tqdm", reason="tqdm is not installed: it draws the bars")


@pytest.fixture
def ends(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        yield producer, consumer


class Screen(io.StringIO):
    """Where a bar is drawn."""

    def last(self):
        return re.split(r"[\r\n]+", self.getvalue().strip())[-1]


def looks():
    return [thread for thread in threading.enumerate() if thread.name == "ipcq-progress"]


@pytest.fixture(autouse=True)
def no_thread_stays():
    """Each bar has ended with its loop, and what asks the broker a moment later."""
    yield
    eventually(lambda: not looks(), "the thread that asks the broker has ended")


def test_a_bar_shows_messages_and_bytes_a_second(tqdm, broker, session):
    broker.create("lines", slots=0, lines=1000)
    with session.producer("lines") as producer:
        producer.send_many([b"x" * 50] * 500)
    screen = Screen()
    with session.consumer("lines") as consumer:
        count = sum(1 for _ in ipcq.progress(consumer, 500, file=screen, desc="lines"))
    assert count == 500
    assert re.search(r"lines: 100%.* 500/500 \[.*messages/s, \d.*B/s\]", screen.last())


def test_a_bar_shows_what_waits_for_the_group(tqdm, broker, session):
    broker.create("lines", slots=0, lines=1000, groups=["slow", "other"])
    screen = Screen()
    with session.producer("lines") as producer, session.consumer("lines", group="slow") as consumer:
        producer.send_many([b"x"] * 900)
        taken, deadline = 0, time.monotonic() + WAIT
        for _ in ipcq.progress(consumer, file=screen, mininterval=0):
            taken += 1
            if "waiting" in screen.getvalue() or time.monotonic() > deadline or taken == 800:
                break
            time.sleep(0.005)
    waiting = [int(number) for number in re.findall(r", (\d+) waiting", screen.getvalue())]
    assert waiting, screen.getvalue()
    assert all(900 - taken <= number <= 900 for number in waiting)


def test_an_exception_in_the_loop_gives_the_message_back(tqdm, broker, ends):
    producer, consumer = ends
    producer.send_many([b"0" * LENGTH, b"1" * LENGTH])
    bar = ipcq.progress(consumer, file=Screen())  # a name of it keeps nothing
    with pytest.raises(KeyError):
        for message in bar:
            if bytes(message)[:1] == b"1":
                raise KeyError
    assert not message.held
    with consumer.receive(timeout=1) as again:
        assert (bytes(again)[:1], again.redeliveries) == (b"1", 1)
    assert group_stats(broker).delivered == 2


def test_an_exception_in_an_async_loop_gives_the_message_back(tqdm, run, ends):
    producer, consumer = ends
    producer.send_many([b"0" * LENGTH, b"1" * LENGTH])

    async def work():
        async for message in ipcq.progress(consumer, file=Screen()):
            if bytes(message)[:1] == b"1":
                raise KeyError

    with pytest.raises(KeyError):
        run(work())
    with consumer.receive(timeout=1) as again:
        assert (bytes(again)[:1], again.redeliveries) == (b"1", 1)


def test_an_async_loop_goes_on_until_the_end(tqdm, run, ends):
    producer, consumer = ends
    producer.send_many([b"x" * LENGTH] * 3)
    producer.close()
    screen = Screen()

    async def work():
        return [len(message) async for message in ipcq.progress(consumer, total=3, file=screen)]

    assert run(work()) == [LENGTH] * 3
    assert "3/3" in screen.last()


class Broken(Screen):
    """Fails once, when it is to show the first message."""

    raised = False

    def write(self, text):
        if "1 messages" in text and not self.raised:
            self.raised = True
            raise KeyError
        return super().write(text)


@pytest.mark.parametrize("kind", ["for", "async for"])
def test_an_exception_while_the_bar_is_drawn_loses_nothing(tqdm, ends, kind):
    producer, consumer = ends
    producer.send(b"x" * LENGTH)
    bar = ipcq.progress(consumer, file=Broken(), mininterval=0)

    async def work():
        async for _ in bar:
            pytest.fail("it was not drawn")

    with pytest.raises(KeyError) as raised:
        if kind == "async for":
            asyncio.run(work())
        for _ in bar:
            pytest.fail("it was not drawn")
    with consumer.receive(timeout=1) as message:
        assert (message.nbytes, message.redeliveries) == (LENGTH, 1)
    assert raised.value.__traceback__ is not None  # which was there all the time


def test_break_keeps_the_message_as_long_as_it_has_a_name(tqdm, broker, ends):
    producer, consumer = ends
    producer.send_many([b"0" * LENGTH, b"1" * LENGTH])
    for message in ipcq.progress(consumer, file=Screen()):  # noqa: B007
        break
    assert message.held
    assert group_stats(broker).held == 1
    del message
    assert group_stats(broker).held == 0


def test_each_message_is_released_when_the_next_is_asked_for(tqdm, broker, ends):
    producer, consumer = ends
    producer.send_many([b"x" * LENGTH] * 3)
    producer.close()
    assert [group_stats(broker).held for _ in ipcq.progress(consumer, file=Screen())] == [1, 1, 1]
    assert group_stats(broker).held == 0


def test_values_have_a_bar_without_bytes(tqdm, broker, session):
    @dataclass
    class Tick:
        price: float

    broker.create("ticks", slots=0)
    with session.producer("ticks", type=Tick) as producer:
        producer.send_many([Tick(1.0), Tick(2.0)])
    screen = Screen()
    with session.consumer("ticks", type=Tick) as consumer:
        assert [tick.price for tick in ipcq.progress(consumer, total=2, file=screen)] == [1.0, 2.0]
    assert "2/2" in screen.last()
    assert "B/s" not in screen.getvalue()


def test_requests_of_a_server_are_counted(tqdm, ask):
    client, server = ask
    calls = [client.call(b"x" * 100) for _ in range(3)]
    screen = Screen()
    for request in ipcq.progress(server, total=3, file=screen):
        last = request.id == calls[-1].id
        request.reply(b"")
        if last:
            break
    assert "3/3" in screen.last()
    assert "B/s" in screen.last()


def test_any_iterable_may_have_a_bar(tqdm):
    screen = Screen()
    assert list(ipcq.progress([b"ab", b"c"], total=2, file=screen)) == [b"ab", b"c"]
    assert "2/2" in screen.last()
    assert looks() == []


@pytest.mark.parametrize("end", ["end", "break", "exception"])
def test_what_asks_the_broker_ends_with_the_loop(tqdm, ends, end):
    producer, consumer = ends
    producer.send(b"x")
    producer.close()
    with contextlib.suppress(ZeroDivisionError):
        for _ in ipcq.progress(consumer, file=Screen()):
            assert len(looks()) == 1
            if end == "break":
                break
            if end == "exception":
                print(1 // 0)


def test_a_bar_that_is_disabled_asks_nobody(tqdm, ends):
    producer, consumer = ends
    producer.send_many([b"x"] * 2)
    producer.close()
    screen = Screen()
    for _ in ipcq.progress(consumer, file=screen, disable=True):
        assert looks() == []
    assert screen.getvalue() == ""


def test_a_broker_that_is_gone_takes_the_bar_out_of_no_loop(tqdm, ends, broker):
    producer, consumer = ends
    producer.send(b"x")
    screen = Screen()
    with pytest.raises(ipcq.ClosedError):
        for message in ipcq.progress(consumer, file=screen):
            message.release()
            broker.stop()
    assert "1 messages" in screen.last()


def test_where_tqdm_is_not_installed_the_text_says_what_to_do(monkeypatch, ends):
    """Where it is installed it is hidden."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tqdm") as raised:
        ipcq.progress(ends[1])
    assert raised.value.name == "tqdm"


def test_it_says_over_what_it_goes(tqdm, ends):
    assert repr(ipcq.progress(ends[1])) == "<ipcq.Progress over <ipcq.Consumer of 'q'>>"


def test_a_bar_that_another_thread_drops_waits_for_no_lock(tqdm):
    bars = [iter(ipcq.progress([b"a", b"b"], file=Screen()))]
    next(bars[0])
    with importlib.import_module("tqdm").tqdm.get_lock():
        InThread(bars.clear).result(5)

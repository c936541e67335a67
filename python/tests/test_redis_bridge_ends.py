"""ipcq.redis.Bridge: how it ends, by its own, by its parent's end, and by signals; and what becomes of its tasks."""

import contextlib
import gc
import os
import signal
import threading
import time

import ipcq
import ipcq.redis
import pytest
from conftest import WAIT, InThread, eventually
from ipcq.redis import Bridge, BridgeError, Producer, call, results
from redis_fixtures import asked, bridge, client, is_alive, server, work  # noqa: F401 - fixtures


def pending(client, group="ipcq"):
    return client.xpending("tasks", group)["pending"]


@pytest.fixture
def slow(asked):
    """A queue whose tasks take 0.3 seconds; says how many have begun."""
    begun = []

    def answer(request):
        begun.append(bytes(request))
        time.sleep(0.3)
        return bytes(request).upper()

    asked(answer)
    return begun


@pytest.fixture
def stuck(asked):
    """A queue whose tasks take until the end of the test, or until the event is set; says how many have begun."""
    go_on, begun = threading.Event(), []

    def answer(request):
        begun.append(bytes(request))
        go_on.wait(WAIT)
        return b"at last"

    asked(answer)
    yield go_on, begun
    go_on.set()


@pytest.mark.parametrize("raises", [False, True])
def test_the_end_of_a_block_drains(client, slow, bridge, raises):
    Producer(client, "tasks").add_many([b"a", b"b", b"c"])
    with contextlib.suppress(KeyError), bridge() as one:
        eventually(lambda: slow, "one has begun")
        if raises:
            raise KeyError
    summary = one.summary()
    assert (summary.read, summary.done, summary.unfinished) == (3, 3, 0)
    assert [result.result for result in results(client, "tasks", follow=False)] == [b"A", b"B", b"C"]
    assert pending(client) == 0


def test_a_drain_takes_no_longer_than_it_may(client, stuck, bridge):
    go_on, begun = stuck
    id = Producer(client, "tasks").add(b"a")
    begin = time.monotonic()
    with bridge(drain_for=0.2) as one:
        eventually(lambda: begun, "it has begun")
    assert time.monotonic() - begin < 10
    assert (one.wait(), one.summary().unfinished, one.stop()) == (1, 1, False)
    assert pending(client) == 1
    go_on.set()
    with bridge(claim_after=0.2) as another:
        result = next(results(client, "tasks", timeout=10))
    assert (result.id, result.result, another.summary().taken_over) == (id, b"at last", 1)


def test_one_that_runs_until_it_is_empty_is_waited_for(client, work, bridge):
    Producer(client, "tasks").add_many([b"a", b"b"])
    with bridge(until_empty=True) as one:
        assert one.wait(WAIT) == 0
    assert one.summary().done == 2
    endless = bridge()
    with pytest.raises(ipcq.TimeoutError, match="runs on after 0.05 s"):
        endless.wait(0.05)


def test_one_that_was_killed_is_told_at_the_end_of_its_block(work, bridge):
    with pytest.raises(BridgeError, match="exit code -9") as raised, bridge() as one:
        os.kill(one.pid, signal.SIGKILL)
        assert one.wait(WAIT) == -9
    assert raised.value.exit_code == -9
    with pytest.raises(BridgeError):
        one.summary()
    assert one.stop() is False
    with pytest.raises(KeyError), bridge() as one:  # which says more than its end
        os.kill(one.pid, signal.SIGKILL)
        one.wait(WAIT)
        raise KeyError


def test_threads_stop_it_together(client, slow, bridge):
    Producer(client, "tasks").add_many([b"a", b"b"])
    one = bridge()
    eventually(lambda: slow, "one has begun")
    assert [thread.result() for thread in [InThread(one.stop) for _ in range(3)]] == [True] * 3
    assert one.summary().done == one.summary().read


def test_the_thread_that_has_made_it_may_end(client, work, bridge):
    one = InThread(bridge).result()
    gc.collect()
    time.sleep(0.1)
    assert one.is_running
    assert call(client, "tasks", b"a", timeout=5) == b"A"


def test_one_that_is_dropped_drains_and_says_so(client, work, bridge, server, name):
    one = Bridge("work", broker=name, redis=server.url, streams=["tasks"])
    pid = one.pid
    with pytest.warns(ResourceWarning, match="was dropped and not stopped"):
        del one
        gc.collect()
    eventually(lambda: not is_alive(pid), "it has ended")


PARENT = """
    import ipcq.redis, signal
    def main(**options):
        with ipcq.redis.Bridge("work", broker=name, redis=URL, streams=["tasks"], **options) as one:
            say(one.pid)
            while True:
                time.sleep(0.02)
"""


@pytest.fixture
def parent(start, server):
    """Starts a process that has a bridge; returns it and the bridge's pid."""
    pids = []

    def parent(begin):
        child = start(PARENT.replace("URL", repr(server.url)) + begin)
        pids.append(int(child.line()))
        return child, pids[-1]

    yield parent
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_it_drains_when_its_parent_is_killed(client, slow, parent):
    child, pid = parent("    main()")
    Producer(client, "tasks").add_many([b"a", b"b"])
    eventually(lambda: slow, "one has begun")
    child.signal(signal.SIGKILL)
    child.finish(-signal.SIGKILL)
    eventually(lambda: not is_alive(pid), "it has ended")
    assert [result.result for result in results(client, "tasks", follow=False)] == [b"A", b"B"]
    assert pending(client) == 0


def test_it_goes_on_without_its_parent_where_that_was_wanted(client, slow, parent):
    child, pid = parent("    main(die_with_parent=False)")
    child.signal(signal.SIGKILL)
    child.finish(-signal.SIGKILL)
    client.xadd("tasks", {"no": "payload"})  # it logs, and nobody reads that
    assert call(client, "tasks", b"a", timeout=WAIT) == b"A"
    assert is_alive(pid)
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_alive(pid), "it has ended")


def test_ctrl_c_of_a_terminal_drains(client, slow, parent):
    """The terminal signals its whole group: a bridge in it would get two signals, and end at once by the second."""
    child, pid = parent("""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        say("interrupted")
    """)
    Producer(client, "tasks").add_many([b"a", b"b"])
    eventually(lambda: slow, "one has begun")
    os.killpg(child.process.pid, signal.SIGINT)
    assert child.finish()[0] == "interrupted"
    assert not is_alive(pid)
    assert [result.result for result in results(client, "tasks", follow=False)] == [b"A", b"B"]


def test_a_second_ctrl_c_ends_it_at_once(client, stuck, parent):
    child, pid = parent("""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        say("interrupted")
    """)
    Producer(client, "tasks").add(b"a")
    eventually(lambda: stuck[1], "it has begun")
    child.signal(signal.SIGINT)
    time.sleep(0.3)
    assert is_alive(pid)
    child.signal(signal.SIGINT)
    assert child.finish()[0] == "interrupted"
    assert not is_alive(pid)
    assert pending(client) == 1


def test_a_fork_does_not_have_it(client, work, start, server):
    child = start(
        f"""
        import ipcq.redis, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        with ipcq.redis.Bridge("work", broker=name, redis={server.url!r}, streams=["tasks"]) as one:
            pid = os.fork()
            if pid == 0:
                try:
                    one.stop()
                except ipcq.UsageError as error:
                    say(error)
            else:
                os.waitpid(pid, 0)
                say(one.is_running, one.counters().read)
        """
    )
    assert "belongs to process" in child.line()
    assert child.line() == "True 0"
    child.finish()

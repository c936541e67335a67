"""Calls: clients, servers, and what becomes of a call when either goes."""

import os
import signal
import subprocess
import sys
import threading
import time

import ipcq
import numpy as np
import pytest
from conftest import WAIT, serving


def test_a_call_has_its_reply(ask):
    client, server = ask
    call = client.call(b"question")
    with server.receive(timeout=5) as request:
        assert bytes(request) == b"question"
        assert len(request) == 8
        assert request.id == call.id
        assert request.open
        assert not request.cancelled
        assert request.deadline_ns is None
        assert request.reply(b"answer")
        assert not request.open
    assert call.result(timeout=5) == b"answer"
    assert not call.has_more
    assert call.ended


def test_requests_and_replies_are_seen_without_a_copy(ask):
    client, server = ask
    with client.loan(timeout=5) as slot:
        np.asarray(slot)[:4000] = 7
        call = client.call(slot, length=4000)
    request = server.receive(timeout=5)
    array = np.asarray(request)
    assert array.shape == (4000,)
    assert (array == 7).all()
    assert not array.flags.writeable
    with pytest.raises(BufferError, match="view is of the request"):
        request.reply(b"")
    del array
    request.reply(bytes(range(256)) * 20)
    view = call.receive_view(timeout=5)
    assert view.readonly
    assert bytes(view) == bytes(range(256)) * 20
    with pytest.raises(BufferError, match="view is of the call"):
        call.receive()
    view.release()
    with pytest.raises(ipcq.EndOfStream):
        call.receive()


def test_several_replies_come_one_by_one(ask):
    client, server = ask
    with serving(server, lambda request: (bytes([i]) for i in range(5))):
        assert list(client.call(b"count")) == [bytes([i]) for i in range(5)]


def test_a_servers_exception_fails_the_call_and_is_logged(ask, caplog):
    client, server = ask

    def refuse(request):
        if bytes(request) == b"code":
            raise ipcq.Failure(77, "busy")
        raise ValueError("no such thing")

    with serving(server, refuse):
        with pytest.raises(ipcq.CallFailed, match="no such thing") as failed:
            client.call(b"x").result(timeout=5)
        assert failed.value.code == 1
        with pytest.raises(ipcq.CallFailed) as failed:
            client.call(b"code").result(timeout=5)
        assert (failed.value.code, failed.value.text) == (77, "busy")
        assert failed.value.status is ipcq.Status.FAILED
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["a request of a server failed"]


def test_a_request_block_that_raises_fails_its_call(ask):
    client, server = ask
    call = client.call(b"x")
    with pytest.raises(KeyError), server.receive(timeout=5):
        raise KeyError("missing")
    with pytest.raises(ipcq.CallFailed, match="missing"):
        call.result(timeout=5)


def test_a_request_that_nobody_answers_tells_its_caller(ask):
    client, server = ask
    call = client.call(b"x")
    del_me = server.receive(timeout=5)
    del del_me
    with pytest.raises(ipcq.ServerDied, match="without an answer"):
        call.result(timeout=5)


def test_a_call_has_a_time_of_its_own(ask):
    client, server = ask
    call = client.call(b"x", timeout=0.05)
    with pytest.raises(ipcq.Expired, match="0.05 s") as expired:
        call.result()
    assert isinstance(expired.value, TimeoutError)
    assert server.try_receive() is None
    assert server.cancelled == 1


def test_a_receive_that_times_out_leaves_the_call_going(ask):
    client, server = ask
    call = client.call(b"x")
    with pytest.raises(ipcq.TimeoutError):
        call.receive(timeout=0.05)
    assert call.try_receive() is None
    server.receive(timeout=5).reply(b"late")
    assert call.receive(timeout=5) == b"late"


def test_cancelled_calls_are_seen_by_their_server(ask):
    client, server = ask
    call = client.call(b"x")
    request = server.receive(timeout=5)
    call.cancel()
    assert request.cancelled
    assert request.reply(b"for nobody") is False
    with pytest.raises(ipcq.Cancelled):
        call.receive()


def test_a_dropped_call_is_cancelled(ask):
    client, server = ask
    call = client.call(b"x")
    request = server.receive(timeout=5)
    del call
    assert request.cancelled


def test_many_calls_are_polled_by_one_look(ask):
    client, server = ask
    calls = [client.call(bytes([i])) for i in range(8)]
    with pytest.raises(ipcq.Full, match="`calls`"):
        client.call(b"one too many")
    assert client.completed(timeout=0) is None
    assert client.calls_under_way == 8
    with serving(server, lambda request: bytes(request) * 2):
        seen = {}
        while len(seen) < 8:
            call = client.completed(timeout=5)
            seen[call.id] = call.result()
    assert seen == {call.id: bytes([i, i]) for i, call in enumerate(calls)}
    assert client.completed(timeout=0) is None
    assert client.find(calls[3].id) is calls[3]
    gone = calls.pop().id
    del call
    with pytest.raises(ipcq.NotFoundError):
        client.find(gone)


def test_a_client_can_refuse_to_wait_for_a_server(broker, session):
    broker.create("nobody", slots=2, calls=2)
    with session.client("nobody", needs_server=True) as client, pytest.raises(ipcq.NoServer, match="no server"):
        client.call(b"x")


def test_a_request_is_passed_on_to_another_queue(broker, session, ask):
    client, front = ask
    broker.create("back", slots=4, slot_bytes=8192, calls=8)
    with session.client("back") as onward, session.server("back") as back:
        call = client.call(b"for the other")
        with front.receive(timeout=5) as request:
            assert onward.forward(request)
            assert not request.open
        back.receive(timeout=5).reply(b"from the back")
        assert call.result(timeout=5) == b"from the back"


def test_a_request_is_given_to_another_server(session, ask):
    client, server = ask
    call = client.call(b"x")
    first = server.receive(timeout=5)
    assert first.nack()
    with session.server("ask") as other:
        second = other.receive(timeout=5)
        assert second.redeliveries == 1
        second.reply(b"other")
    assert call.result(timeout=5) == b"other"


def test_a_reply_that_has_no_room_leaves_the_request_open(ask):
    client, server = ask
    call = client.call(b"x")
    request = server.receive(timeout=5)
    with pytest.raises(ipcq.StatusError) as too_large:
        request.reply(bytes(9000))
    assert too_large.value.status is ipcq.Status.TOO_LARGE
    assert request.open
    request.reply(b"short")
    assert call.result(timeout=5) == b"short"
    with pytest.raises(ipcq.UsageError, match="answered"):
        request.reply(b"again")


SERVER = """
import os, sys, ipcq
with ipcq.connect(sys.argv[1], wait_for=20) as session, session.server("ask") as server:
    print("ready", flush=True)
    for request in server:
        if bytes(request) == b"die":
            os.kill(os.getpid(), 9)
        request.reply(bytes(request).upper())
"""


def test_the_death_of_a_server_ends_its_calls_at_once(name, broker, session):
    broker.create("ask", slots=4, calls=4)
    server = subprocess.Popen([sys.executable, "-c", SERVER, name], stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline() == b"ready\n"
        with session.client("ask") as client:
            assert client.call(b"hello", timeout=20).result() == b"HELLO"
            call = client.call(b"die", timeout=20)
            with pytest.raises(ipcq.ServerDied):
                call.result()
        assert server.wait(20) == -signal.SIGKILL
    finally:
        server.kill()
        server.wait(20)
        server.stdout.close()


def test_threads_share_a_client(ask):
    client, server = ask
    wrong = []

    def caller(k):
        for i in range(50):
            want = b"%d %d" % (k, i)
            if client.call(want).result(timeout=20) != want:
                wrong.append(want)

    with serving(server, bytes):
        threads = [threading.Thread(target=caller, args=(k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
            assert not thread.is_alive()
    assert not wrong


def test_a_call_beside_a_thread_that_waits_is_not_held_up(ask):
    """Calls of one client take turns, and one that waits for a reply gives its turn up."""
    client, server = ask
    slow = client.call(b"slow")
    waiter = threading.Thread(target=lambda: slow.result(timeout=20))
    waiter.start()
    first = server.receive(timeout=5)
    time.sleep(0.02)
    begun = time.monotonic()
    for _ in range(20):
        call = client.call(b"quick")
        server.receive(timeout=5).reply(b"")
        assert call.result(timeout=5) == b""
    # Twenty slices of 0.1 s would be two seconds.
    assert time.monotonic() - begun < 1.5
    first.reply(b"done")
    waiter.join(10)
    assert not waiter.is_alive()


def test_clients_and_servers_do_not_survive_a_fork(ask):
    client, server = ask
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for action in (lambda: client.call(b"x"), lambda: server.receive(timeout=1)):
                try:
                    action()
                except ipcq.UsageError as error:
                    code = 0 if "parent" in str(error) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    call = client.call(b"x")
    server.receive(timeout=5).reply(b"y")
    assert call.result(timeout=5) == b"y"


class Unspeakable(Exception):
    def __repr__(self):
        raise RuntimeError


def of_a_view(request):
    array = np.asarray(request)
    if bytes(request)[:1] == b"r":
        raise ValueError("bad")
    return array


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_that_a_function_does_ends_its_server(ask):
    client, server = ask

    def answer(request):
        what = bytes(request)[:1]
        if what == b"u":
            raise Unspeakable
        if what == b"n":
            raise ipcq.Failure(-1)
        if what == b"s":
            raise ipcq.Failure(5, "\udc80")
        return of_a_view(request)

    with serving(server, answer):
        for payload in (b"raise", b"unspeakable", b"negative", b"surrogate"):
            with pytest.raises(ipcq.CallFailed):
                client.call(payload, timeout=WAIT).result()
        assert client.call(b"echo", timeout=WAIT).result() == b"echo"

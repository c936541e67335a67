"""What telemetry tells, and what references and other clients find, in each tier."""

import pickle
import time

import actor_samples as samples
import ipcq
import numpy as np
import pytest
from actor_samples import Note, Reading, Score
from conftest import WAIT, InThread, eventually


def test_telemetry_equals_what_callers_have_counted(launch, runtime):
    ref = launch(samples.score, "score")
    for i in range(60):
        if i % 4 == 0:
            with pytest.raises(ipcq.CallFailed):
                ref.ask(Reading(i, -1.0), timeout=WAIT)
        else:
            ref.ask(Reading(i, 1.0), timeout=WAIT)
    eventually(lambda: runtime.telemetry("score").in_flight == 0, "all is counted")
    seen = runtime.telemetry("score")
    assert (seen.received, seen.completed, seen.failed, seen.lost, seen.waiting) == (60, 45, 15, 0, 0)
    assert (seen.priority, seen.restarts, seen.rejected, seen.cancelled, seen.workers) == (5, 0, 0, 0, 1)
    latency = seen.latency
    assert latency.count == 60
    assert 0 < latency.min <= latency.p50 <= latency.p90 <= latency.p99 <= latency.max
    assert latency.min <= latency.mean <= latency.max
    assert 0 < seen.busy_seconds <= time.time() - seen.since


def test_telemetry_works_while_the_actor_is_busy(launch, runtime):
    ref = launch(samples.Counter, "counter")
    asked = InThread(lambda: ref.ask(b"sleep 0.4", timeout=WAIT))
    eventually(lambda: runtime.telemetry("counter").in_flight == 1, "it works")
    first = runtime.telemetry("counter")
    time.sleep(0.05)
    assert runtime.telemetry("counter").busy_seconds > first.busy_seconds
    assert asked.result() == b"1"
    eventually(lambda: runtime.telemetry("counter").in_flight == 0, "it is done")
    assert runtime.telemetry("counter").busy_seconds >= 0.4


def test_answers_that_nobody_waits_for_are_counted(launch, runtime):
    ref = launch(samples.Counter, "counter")
    with pytest.raises(ipcq.Expired):
        ref.ask(b"sleep 0.3", timeout=0.1)
    eventually(lambda: runtime.telemetry("counter").completed == 1, "done")
    assert runtime.telemetry("counter").cancelled == 1


def test_a_raw_client_asks_an_actor_as_any_server(launch, name):
    launch(samples.echo, "echo")
    with ipcq.connect(name) as session, session.client("echo") as client:
        assert client.call(b"abc", timeout=WAIT).result() == b"abc"


def test_a_typed_client_of_another_type_is_refused(launch, runtime):
    launch(samples.score, "score")
    wrong = ipcq.actor_ref("score", input=Note, output=Score, broker=runtime.broker)
    with pytest.raises(ipcq.UsageError, match="Reading"):
        wrong.ask(Note("", []), timeout=WAIT)


def test_a_message_that_is_no_value_fails_and_never_reaches_the_handler(launch, name):
    launch(samples.score, "score")
    with ipcq.connect(name) as session, session.client("score") as client:
        with pytest.raises(ipcq.CallFailed) as caught:
            client.call(b"abc", timeout=WAIT).result()
        assert caught.value.code == 0xFFFFFFFF


def test_a_reference_by_name_finds_out_that_arrays_are_taken(launch, runtime):
    launch(samples.double, "double")
    ref = ipcq.actor_ref("double", broker=runtime.broker)
    assert (ref.ask(np.arange(3), timeout=WAIT) == [0, 2, 4]).all()


def test_references_are_names_that_can_be_pickled(launch, runtime):
    ref = launch(samples.score, "score")
    again = pickle.loads(pickle.dumps(ref))
    assert again == ref
    assert hash(again) == hash(ref)
    assert again.ask(Reading(1, 2.0), timeout=WAIT) == Score(1, 4.0)
    assert "score" in repr(ref)
    assert "Reading -> Score" in repr(ref)
    assert again != ipcq.actor_ref("other", broker=runtime.broker)

"""What actors and references leave behind: nothing."""

import gc
import threading
from pathlib import Path

import actor_samples as samples
import pytest
from conftest import WAIT, InThread, eventually
from ipcq.actors import _tells


@pytest.mark.parametrize("tier", ["thread", "process", "async"])
def test_actors_that_come_and_go_leave_nothing_behind(runtime, tier):
    def once():
        ref = runtime.launch(samples.Counter, "a", tier=tier)
        InThread(lambda: ref.ask(b"", timeout=WAIT)).result()
        ref.tell(b"")
        assert ref.flush(WAIT) == 0
        runtime.terminate("a")

    def kept():
        gc.collect()
        threads = [thread.name for thread in threading.enumerate() if not thread.name.startswith("tells-")]
        return len(list(Path("/proc/self/fd").iterdir())), len(threads)

    for _ in range(2):
        once()
    descriptors, threads = kept()
    for _ in range(4):
        once()
    eventually(lambda: kept()[0] <= descriptors, f"no more than {descriptors} descriptors")
    eventually(lambda: kept()[1] <= threads, f"no more than {threads} threads")


def test_what_tells_goes_when_there_is_nothing_to_tell_and_comes_again(runtime, monkeypatch):
    monkeypatch.setattr(_tells, "_IDLE", 0.05)
    ref = runtime.launch(samples.score, "a")
    for _ in range(3):
        ref.tell(samples.Reading(1, -1.0))
        eventually(lambda: "tells-a" not in [one.name for one in threading.enumerate()], "it has gone")
    assert ref.flush(WAIT) == 3, "what has failed is counted by the next one, too"


def test_threads_that_end_give_their_place_at_the_queue_back(runtime):
    ref = runtime.launch(samples.echo, "a", endpoints=8)
    for i in range(30):
        assert InThread(lambda i=i: ref.ask(b"%d" % i, timeout=WAIT)).result() == b"%d" % i

"""Actors and their callers in several processes: references, orphans, deaths of runtimes and brokers, signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import actor_samples as samples
import ipcq
import pytest
from conftest import WAIT, eventually
from ipcq.actors import _links


@pytest.fixture
def start_here(start, monkeypatch):
    """Scripts that can import the samples."""
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return start


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


SERVES = """
    import actor_samples as samples
    runtime = ipcq.ActorRuntime({broker})
    ref = runtime.launch(samples.Counter, "a", tier="process", workers=2)
    say(*runtime.pids("a"))
    {then}
"""


def test_a_reference_works_in_another_process_by_name_and_by_pickle(runtime, start_here):
    runtime.launch(samples.score, "score", tier="process")
    child = start_here(
        """
        import pickle
        import actor_samples as samples
        ref = ipcq.actor_ref("score", samples.score, broker=name)
        say(ref.ask(samples.Reading(1, 2.0), timeout=10).score)
        again = pickle.loads(pickle.dumps(ref))
        try:
            again.ask(samples.Reading(4, -1.0), timeout=10)
        except ipcq.CallFailed as error:
            say(error.text)
        for i in range(30):
            again.tell(samples.Reading(i, 1.0))
        """
    )
    assert child.line() == "4.0"
    assert "sensor 4 is broken" in child.line()
    child.finish()
    # What was told is worked on before the interpreter ends.
    eventually(lambda: runtime.telemetry("score").completed == 31, "all that was told")
    assert runtime.telemetry("score").failed == 1


def test_what_a_process_has_told_and_cannot_wait_for_is_said_at_its_end(runtime, start_here):
    runtime.launch(samples.echo, "a", activate=False)
    child = start_here(
        """
        import ipcq.actors._tells as tells
        tells._AT_EXIT = 0.2
        ipcq.actor_ref("a", broker=name).tell(b"x")
        """
    )
    assert "1 messages that it was told are cancelled" in child.finish()[1]


def test_a_child_of_a_fork_opens_its_own(runtime, start_here):
    runtime.launch(samples.echo, "a")
    child = start_here(
        """
        ref = ipcq.actor_ref("a", broker=name)
        say(ref.ask(b"parent", timeout=10))
        ref.tell(b"x")
        say(ref.flush(10))
        if (pid := os.fork()) == 0:
            say(ref.ask(b"child", timeout=10))
            ref.tell(b"x")
            say(ref.flush(10))
            os._exit(0)
        os.waitpid(pid, 0)
        say(ref.ask(b"parent again", timeout=10))
        """
    )
    assert [child.line() for _ in range(5)] == ["b'parent'", "0", "b'child'", "0", "b'parent again'"]
    child.finish()


def test_a_forked_child_ends_nothing_of_its_parents_runtime(start_here):
    child = start_here(
        """
        import actor_samples as samples
        with ipcq.ActorRuntime(ipcq.Broker(name)) as runtime:
            ref = runtime.launch(samples.echo, "a", tier="process")
            if (pid := os.fork()) == 0:
                runtime.close()
                os._exit(0)
            os.waitpid(pid, 0)
            say(ref.ask(b"x", timeout=10))
        """
    )
    assert child.line() == "b'x'"
    child.finish()


def test_workers_end_when_the_process_of_their_runtime_is_killed(start_here):
    child = start_here(SERVES.format(broker="ipcq.Broker(name)", then="time.sleep(60)"))
    pids = [int(pid) for pid in child.line().split()]
    assert len(pids) == 2
    assert all(map(is_alive, pids))
    child.signal(signal.SIGKILL)
    child.finish(-9)
    eventually(lambda: not any(map(is_alive, pids)), "no orphans")


def test_workers_end_though_a_fork_of_the_runtime_lives_on(start_here):
    then = "say(os.fork() or (time.sleep(30), os._exit(0))); time.sleep(60)"
    child = start_here(SERVES.format(broker="ipcq.Broker(name)", then=then))
    pids = [int(pid) for pid in child.line().split()]
    fork = int(child.line())
    try:
        child.signal(signal.SIGKILL)
        child.process.wait(WAIT)
        eventually(lambda: not any(map(is_alive, pids)), "no orphans")
        assert is_alive(fork)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_callers_are_told_at_once_that_a_runtime_of_another_process_has_died(name, start_here):
    with ipcq.Broker(name) as broker:
        child = start_here(SERVES.format(broker="name", then="time.sleep(60)"))
        pids = [int(pid) for pid in child.line().split()]
        ref = ipcq.actor_ref("a", samples.Counter, broker=name)
        assert ref.ask(b"", timeout=WAIT) == b"1"
        child.signal(signal.SIGKILL)
        child.finish(-9)
        eventually(lambda: not any(map(is_alive, pids)), "no orphans")
        eventually(lambda: not broker.stats().queues[0].endpoints or _ends(ref), "nobody serves")
        with pytest.raises(ipcq.NoServer):
            ref.ask(b"", timeout=WAIT)
        _links.drop_session(name)


def _ends(ref):
    try:
        ref.ask(b"", timeout=0.2)
    except (ipcq.NoServer, ipcq.ServerDied):
        return True
    except ipcq.Expired:
        return False
    return False


def test_a_broker_that_dies_ends_calls_and_a_successor_is_found(name, start_here):
    source = """
        import actor_samples as samples
        runtime = ipcq.ActorRuntime(ipcq.Broker(name))
        runtime.launch(samples.Counter, "a", args=(int(sys.argv[2]) if len(sys.argv) > 2 else 0,))
        say("ready")
        time.sleep(60)
    """
    first = start_here(source)
    assert first.line() == "ready"
    ref = ipcq.actor_ref("a", samples.Counter, broker=name)
    assert ref.ask(b"", timeout=WAIT) == b"1"
    first.signal(signal.SIGKILL)
    first.finish(-9)
    with pytest.raises((ipcq.NotFoundError, ipcq.PeerDeadError)):
        for _ in range(2):
            ref.ask(b"", timeout=WAIT)
    second = start_here(source)
    assert second.line() == "ready"
    assert ref.ask(b"", timeout=WAIT) == b"1"
    _links.drop_session(name)


def test_a_runtime_whose_broker_has_died_ends_in_order(name, start_here):
    child = start_here("broker = ipcq.Broker(name); say('ready'); time.sleep(60)")
    assert child.line() == "ready"
    with ipcq.ActorRuntime(name) as runtime:
        refs = [runtime.launch(samples.echo, tier, tier=tier) for tier in ("thread", "process", "async")]
        pids = runtime.pids("process")
        assert [ref.ask(b"x", timeout=WAIT) for ref in refs] == [b"x"] * 3
        child.signal(signal.SIGKILL)
        child.finish(-9)
        for ref in refs:
            with pytest.raises((ipcq.PeerDeadError, ipcq.NotFoundError)):
                for _ in range(3):
                    ref.ask(b"x", timeout=WAIT)
        begun = time.monotonic()
        runtime.close()
        assert time.monotonic() - begun < WAIT
        assert {one.state for one in runtime._actors.values()} == {ipcq.ActorState.TERMINATED}
    eventually(lambda: not any(map(is_alive, pids)), "no orphans")
    _links.drop_session(name)


def test_a_worker_finds_other_actors_by_name(runtime):
    runtime.launch(samples.echo, "echo", tier="process")
    outer = runtime.launch(samples.Asks, "outer", tier="process", kwargs={"name": "echo"})
    assert outer.ask(b"x", timeout=WAIT) == b"<x>"


def test_ctrl_c_ends_a_wait_and_the_runtime_with_its_workers(start_here):
    child = start_here(
        """
        import actor_samples as samples
        try:
            with ipcq.ActorRuntime(ipcq.Broker(name)) as runtime:
                ref = runtime.launch(samples.Counter, "a", tier="process")
                say(*runtime.pids("a"))
                ref.ask(b"sleep 60")
        except KeyboardInterrupt:
            say("interrupted")
        """
    )
    [pid] = [int(pid) for pid in child.line().split()]
    time.sleep(0.2)
    begun = time.monotonic()
    child.signal(signal.SIGINT)
    assert child.line() == "interrupted"
    assert time.monotonic() - begun < WAIT / 2
    child.finish()
    eventually(lambda: not is_alive(pid), "no orphan")


def test_a_termination_that_ctrl_c_has_ended_can_be_completed(start_here):
    child = start_here(
        """
        import actor_samples as samples
        runtime = ipcq.ActorRuntime(ipcq.Broker(name))
        ref = runtime.launch(samples.Counter, "a", tier="process")
        say(*runtime.pids("a"))
        ref.tell(b"sleep 60")
        for options in ({"drain": 30.0}, {"drain": 0.0, "stop": 30.0}):
            try:
                say("terminate")
                runtime.terminate("a", **options)
            except KeyboardInterrupt:
                say(runtime.state("a").value)
        say(runtime.terminate("a", stop=0.1), runtime.state("a").value)
        time.sleep(60)
        """
    )
    pid = int(child.line())
    for _ in range(2):
        assert child.line() == "terminate"
        time.sleep(0.3)
        child.signal(signal.SIGINT)
        assert child.line() == "terminating"
    assert child.line() == "0 terminated"
    assert not is_alive(pid)


@pytest.mark.parametrize("then", ["ref.tell(b'')", "import gc; del runtime; gc.collect()"])
def test_a_runtime_that_nobody_closes_ends_with_its_interpreter(start_here, then):
    child = start_here(SERVES.format(broker="ipcq.Broker(name)", then=then))
    pids = [int(pid) for pid in child.line().split()]
    child.finish()
    eventually(lambda: not any(map(is_alive, pids)), "no orphans")


def test_what_was_told_is_worked_on_before_a_runtime_that_nobody_closes_ends(start_here, tmp_path):
    child = start_here(
        f"""
        import time
        @ipcq.actor()
        def slow(message):
            time.sleep(0.05)
            with open({str(tmp_path / "done")!r}, "ab") as file:
                file.write(message)
        runtime = ipcq.ActorRuntime(ipcq.Broker(name))
        ref = runtime.launch(slow)
        for _ in range(10):
            ref.tell(b"x")
        """
    )
    child.finish()
    assert (tmp_path / "done").read_bytes() == b"x" * 10


def test_a_script_launches_actors_of_its_own(tmp_path, name):
    script = tmp_path / "script.py"
    script.write_text(
        "import ipcq, os\n"
        "@ipcq.actor()\ndef pid(message): return b'%d' % os.getpid()\n"
        "if __name__ == '__main__':\n"
        f"    with ipcq.ActorRuntime(ipcq.Broker('{name}')) as runtime:\n"
        "        ref = runtime.launch(pid, tier='process')\n"
        "        assert int(ref.ask(b'')) == runtime.pids('pid')[0]\n"
        "        print('done')\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=WAIT, check=False)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
    unguarded = tmp_path / "unguarded.py"
    unguarded.write_text(script.read_text().replace("if __name__ == '__main__':", "if True:"))
    ran = subprocess.run([sys.executable, unguarded], capture_output=True, text=True, timeout=WAIT, check=False)
    assert ran.returncode == 1
    assert "under `if __name__ == '__main__':`" in ran.stderr


def test_importing_the_package_does_not_import_what_actors_need(start):
    child = start("say('multiprocessing' in sys.modules, 'ipcq.actors' in sys.modules); say(ipcq.actor.__module__)")
    assert child.line() == "False False"
    assert child.line() == "ipcq.actors._spec"
    child.finish()

#!/usr/bin/env python3
"""Two brokers with an ipcq-redis each share the tasks of a stream; one ipcq-redis is killed, every result checked.

The part of scripts/demo that --redis runs. A task is 64 random floats, two vectors of 32, which the handler vector_add
adds up. All tasks are in the stream before the two begin. When half of the results are there, one of the two is killed
by SIGKILL; the other one takes over what it had in hand. When nothing is left to do, an independent reader reads all
results.

  tasks        added to the stream
  results      in the stream of results
  redelivered  tasks that the survivor took over from the one that was killed
  wrong        results that are not the sums of their task's vectors, or that belong to no task
  lost         tasks without a result
  doubled      results of a task beyond its first one
  tasks/s      from the start of the two until nothing was left, the wait for what the killed one had in hand included;
               and until one was killed

Exit code 0 when wrong, lost and doubled are 0 and one was killed before the last result; else 1. Needs redis-server,
and Python's standard library only.
"""
import argparse
import array
import collections
import json
import operator
import os
import random
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # the modules lie among the sources
from redis_processes import (PATIENCE, Broker, Processes, RedisServer, Trouble, end_on_signals, entries_of, is_empty,
                             left_in, state_of)
from redis_wire import RedisError

STREAM, GROUP = "add", "ipcq"
LENGTH = 32  # floats of a vector
AT_ONCE = 200  # XADD commands


def options():
    p = argparse.ArgumentParser(prog="scripts/demo --redis", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    p.add_argument("--bin", default=os.path.join(root, "build/release/bin"), help="where the programs are")
    p.add_argument("--tasks", type=int, default=100_000, metavar="N", help="tasks to add (default 100000)")
    p.add_argument("--seed", type=int, default=int(time.time()), help="of the random vectors")
    p.add_argument("--backend", choices=("host", "cuda"), default="host", help="of the queues (default host)")
    p.add_argument("--json", action="store_true", help="one object on stdout at the end; all else goes to stderr")
    o = p.parse_args()
    if o.tasks < 1:
        p.error("--tasks: at least 1")
    return o


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


class Demo:
    def __init__(self, o, directory):
        self.o = o
        self.processes = Processes(directory)
        self.server = RedisServer(self.processes, "everysec")
        self.brokers = [Broker(self.processes, o.bin, f"demo-{os.getpid()}-{n}", f"run-{n}",
                               f"{STREAM}={8 * LENGTH},slots=256,handler=vector_add,calls=256", o.backend) for n in (1, 2)]
        self.bridges = []
        self.payloads = {}  # of the tasks, by the ids of their entries
        self.killed_at = None  # results that there were

    def start(self):
        if shutil.which("redis-server") is None:
            raise Trouble("redis-server is missing; run scripts/install-deps redis")
        for program in ("ipcq-broker", "ipcq-redis"):
            if not os.access(os.path.join(self.o.bin, program), os.X_OK):
                raise Trouble(f"no {program} in {self.o.bin}")
        self.server.start()
        self.connection = self.server.connect()
        for broker in self.brokers:
            broker.start_and_wait()

    def add_tasks(self):
        number = random.Random(self.o.seed).random
        while len(self.payloads) < self.o.tasks:
            payloads = [array.array("f", [number() - 0.5 for _ in range(2 * LENGTH)]).tobytes()
                        for _ in range(min(AT_ONCE, self.o.tasks - len(self.payloads)))]
            replies = self.connection.pipeline([["XADD", STREAM, "*", "payload", p] for p in payloads])
            for reply, payload in zip(replies, payloads):
                if isinstance(reply, RedisError):
                    raise reply
                self.payloads[reply] = payload

    def start_bridges(self):
        for n, broker in enumerate(self.brokers, 1):
            self.bridges.append(broker.start_bridge(self.server, f"bridge-{n}", STREAM, [
                "--stream", STREAM, "--group", GROUP, "--consumer", f"bridge-{n}", "--claim-after", "1"]))

    def state(self):
        tails = [f"--- {p.name}:\n{p.tail()}" for p in self.processes.all]
        return "\n".join([state_of(self.connection, STREAM, GROUP), *tails])

    def check_programs(self):
        for process in self.processes.all:
            if not process.is_running() and not (process is self.bridges[0] and self.killed_at is not None):
                raise Trouble(f"{process.name} ended too early (exit code {process.popen.returncode})\n"
                              f"{process.tail()}")

    def watch(self):
        """Until nothing is left to do; kills one bridge on the way."""
        results, since, told = 0, self.begin, self.begin
        while True:
            left = left_in(self.connection, STREAM, GROUP)
            now = time.monotonic()
            self.check_programs()
            if left["results"] != results:
                results, since = left["results"], now
            if self.killed_at is None and 2 * results >= self.o.tasks:
                self.bridges[0].kill()
                self.killed_at = self.connection.call("XLEN", f"{STREAM}:results")
                self.killed_after = time.monotonic() - self.begin
                in_hand = len(self.connection.call("XPENDING", STREAM, GROUP, "-", "+", 1000, "bridge-1"))
                say(f"{self.killed_at} results are there; killed one ipcq-redis, which had {in_hand} tasks in hand")
            if is_empty(left):
                return now - self.begin
            if now - since > PATIENCE:
                raise Trouble(f"no result has come for {PATIENCE} s, and the stream is not empty\n{self.state()}")
            if now - told > 2:
                say(f"{results} results")
                told = now
            time.sleep(0.01)

    def end(self):
        """The survivor's summary, when all but the server have ended."""
        survivor = self.bridges[1]
        for process in (survivor, *(broker.process for broker in self.brokers)):
            code = process.end()
            if code != 0:
                raise Trouble(f"{process.name} ended with {'no answer to SIGINT' if code is None else code}\n"
                              f"{process.tail()}")
        with open(self.processes.path("bridge-2.json")) as f:
            return json.loads(f.read().splitlines()[-1])

    def check(self):
        """Reads every result, and compares each element of its sums."""
        seen, wrong, shown = collections.Counter(), 0, 0
        for entry, fields in entries_of(self.connection, f"{STREAM}:results"):
            named = dict(zip(fields[::2], fields[1::2]))
            task = named.get(b"id")
            seen[task] += 1
            payload = self.payloads.get(task)
            if payload is None or not self.is_right(payload, named.get(b"result", b"")):
                wrong += 1
                if wrong <= 5:
                    say(f"WRONG: result {entry.decode()} of task {task}: {named.get(b'result', b'').hex()[:128]}")
        lost = [task for task in self.payloads if task not in seen]
        doubled = [task for task, count in seen.items() if count > 1]
        for term, tasks in (("LOST", lost), ("DOUBLED", doubled)):
            for task in tasks[:5]:
                say(f"{term}: task {task.decode()}")
        return {"tasks": len(self.payloads), "results": sum(seen.values()), "wrong": wrong, "lost": len(lost),
                "doubled": sum(seen[task] - 1 for task in doubled)}

    def is_right(self, payload, result):
        if len(result) != len(payload):
            return False
        given, got = array.array("f", payload), array.array("f", result)
        a, b = given[:LENGTH], given[LENGTH:]
        # Sums of two float32 in double precision, rounded to float32, are those of float32 arithmetic.
        return got[:LENGTH] == array.array("f", map(operator.add, a, b)) and got[LENGTH:] == b

    def run(self):
        self.start()
        say(f"adding {self.o.tasks} tasks, of two vectors of {LENGTH} floats each")
        self.add_tasks()
        say(f"two brokers with an ipcq-redis each, in group '{GROUP}'")
        self.connection.call("XGROUP", "CREATE", STREAM, GROUP, "0")
        self.begin = time.monotonic()
        self.start_bridges()
        seconds = self.watch()
        survivor = self.end()
        return {**self.check(), "redelivered": survivor["taken_over"], "killed_at": self.killed_at,
                "seconds": round(seconds, 3), "tasks_per_s": round(self.o.tasks / seconds),
                "tasks_per_s_until_kill": round(self.killed_at / self.killed_after) if self.killed_at else None}

    def clean_up(self):
        self.processes.kill_all()
        for broker in self.brokers:
            broker.clean()


def report(o, result):
    killed = result["killed_at"] is not None and result["killed_at"] < o.tasks
    bad = result["wrong"] + result["lost"] + result["doubled"]
    out = sys.stderr if o.json else sys.stdout
    print(f"{result['tasks']} tasks, {result['results']} results, {result['redelivered']} redelivered, "
          f"{result['wrong']} wrong, {result['lost']} lost, {result['doubled']} doubled; "
          f"{result['tasks_per_s']} tasks/s, {result['tasks_per_s_until_kill']} until the kill", file=out)
    if not killed:
        print("no ipcq-redis was killed before the last result: take more --tasks", file=out)
    elif not bad:
        print("every element of every result is right, though an ipcq-redis was killed on the way", file=out)
    ok = killed and not bad
    if o.json:
        print(json.dumps({"ok": ok, **result}))
    return 0 if ok else 1


def main():
    o = options()
    end_on_signals()
    directory = tempfile.mkdtemp(prefix="ipcq-demo-")
    demo = None
    try:
        demo = Demo(o, directory)
        return report(o, demo.run())
    except Trouble as trouble:
        say(str(trouble))
        return 1
    except (OSError, RedisError) as error:
        server = demo.server.process if demo else None
        say(f"{error}; redis-server says:\n{server.tail()}" if server else str(error))
        return 1
    finally:
        if demo:
            demo.clean_up()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

"""The hosts of a round of scripts/soak-redis: each a broker with the queue `work` and an ipcq-redis at it.

Here so that all that is killed is started, found and restarted in one place, as a supervisor of services would: with
the same options, and nobody tidies up in between. Kinds of hosts may be added; soak_redis_terms.py wants results in
upper case from each.
"""
import contextlib
import glob
import json
import os
import re
import signal
import time

from redis_processes import Broker
from soak_redis_feeders import FIELD, STREAM

GROUP = "ipcq"
# A kill buries no task, and a failed attempt is soon made again.
BRIDGE_OPTIONS = ["--stream", STREAM, "--group", GROUP, "--field", FIELD.decode(), "--claim-after", "1", "--attempts",
                  "1000", "--backoff", "0.05", "--longest-backoff", "0.5", "--poll", "0.05"]
RUNNERS = [name[:15] for name in ("ipcq-host-runner", "ipcq-runner")]  # as the kernel keeps them


class Host:
    def __init__(self, o, seed, number, processes, server, random):
        self.number, self.processes, self.server, self.random = number, processes, server, random
        own = os.path.join(os.path.dirname(os.path.abspath(__file__)), "soak_redis_handler.cu")
        has_own = number % 2 == 1
        self.has_runner = has_own or o.backend == "cuda"
        handler = f"{own},threads={2 if o.backend == 'host' else 64}" if has_own else "upper"
        self.broker = Broker(processes, o.bin, f"soak-redis-{os.getpid()}-{seed}-{number}", f"run-{number}",
                             f"work=4KiB,slots=128,calls=64,handler={handler}", o.backend)
        self.bridges = []  # of which all but the last were killed

    @property
    def bridge(self):
        return self.bridges[-1]

    def start_bridge(self):
        """With the name of an earlier one, whose tasks it then finds as its own, or with a new one."""
        name = f"bridge-{self.number}.{len(self.bridges) + 1}"
        options = ["--consumer", f"bridge-{self.number}"] if self.random.random() < 0.5 else []
        self.bridges.append(self.broker.start_bridge(self.server, name, "work", BRIDGE_OPTIONS + options))

    def runners(self):
        """The broker's processes for its handler."""
        found = []
        for path in glob.glob(f"/proc/{self.broker.process.pid}/task/*/children"):
            with contextlib.suppress(OSError):  # it may just have ended
                with open(path) as f:
                    children = f.read().split()
                for pid in map(int, children):
                    with open(f"/proc/{pid}/comm") as f:
                        if f.read().strip() in RUNNERS:
                            found.append(pid)
        return found

    def kill_runner(self):
        """Whether there was one."""
        for pid in self.runners():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    # ---- when all is done ----

    def taken_over(self, records):
        """Tasks that its bridges, the killed ones included, have taken over: as their logs say, and the last summary."""
        total = 0
        for bridge in self.bridges:
            with open(bridge.log, errors="replace") as f:
                in_log = sum(int(count) for count in re.findall(r"took over (\d+) tasks", f.read()))
            total += in_log
        with open(self.processes.path(f"{self.bridge.name}.json")) as f:
            said = f.read().splitlines()
        if not said:
            if self.bridge.popen.returncode == 0:
                records.fail(f"{self.bridge.name} has printed no summary")
        elif json.loads(said[-1])["taken_over"] != in_log:
            records.fail(f"{self.bridge.name}: its log has {in_log} tasks taken over, its summary "
                         f"{json.loads(said[-1])['taken_over']}")
        return total

    def leftovers(self):
        """What is still there of brokers that have ended, as texts. Their runners may take a moment to see it."""
        until = time.monotonic() + 5
        while True:
            names = self.broker.shared_memory() + glob.glob(os.path.join(self.broker.run_directory, "ipcq", "*"))
            for process in self.processes.all:
                if process.name == f"broker-{self.broker.name}":
                    names += [f"process {pid} of broker {process.pid}" for pid in self.processes.left_of(process)]
            if not names or time.monotonic() > until:
                return names
            time.sleep(0.05)

"""One round of scripts/soak-redis: a server, hosts and feeders, a killer among them, and in the end the terms.

Here so that the order of a round and its random choices stand in one place. Choices may be added and changed, and seeds
then mean other rounds than before. The order is part of what is tested: feeders stop, everything that was killed comes
back and stays, the streams become empty, bridges and brokers end by themselves, and only then is the server asked.
"""
import os
import random
import signal
import time

from redis_processes import PATIENCE, Processes, RedisServer, Trouble, is_empty, left_in, state_of
from redis_wire import RedisError
from soak_redis_feeders import STREAM, Feeder
from soak_redis_hosts import GROUP, Host
from soak_redis_records import Records
from soak_redis_terms import Terms

PAUSES = (0.05, 0.8)      # s between two kills
ABSENCES = (0, 0.5)       # s until what was killed is started again
STALLS = (1.2, 2.5)       # s for which a bridge is stopped; its tasks are taken over after 1 s
UNBEGUN = (128 + signal.SIGINT, -signal.SIGINT)  # exit codes of what was told to end before it had begun
WEIGHTS = {"bridge": 5, "broker": 3, "runner": 3, "redis": 2}


class Round:
    def __init__(self, o, seed, directory, out):
        self.o, self.seed = o, seed
        self.random = random.Random(seed)
        self.records = Records(out)
        self.processes = Processes(directory)
        self.server = RedisServer(self.processes, "always")
        self.hosts = [Host(o, seed, n, self.processes, self.server, self.random) for n in range(o.hosts)]
        self.feeders = [Feeder(n, seed, o.rate, self.server.socket) for n in range(o.feeders)]
        self.terms = Terms(self.records, self.feeders)
        self.due = []  # (when, what is then done)

    def start(self):
        self.server.start()
        self.server.connect().close()
        for host in self.hosts:
            host.broker.start_and_wait()
            host.start_bridge()
        for feeder in self.feeders:
            feeder.start()

    # ---- while they are killed ----

    def later(self, pauses, action):
        self.due.append((time.monotonic() + self.random.uniform(*pauses), action))

    def do_what_is_due(self, all_of_it=False):
        now = time.monotonic()
        ripe = [action for when, action in self.due if all_of_it or when <= now]
        self.due = [] if all_of_it else [(when, action) for when, action in self.due if when > now]
        for action in ripe:
            action()

    def victims(self):
        """What can be killed now, by kind; of bridges also those that are stopped."""
        return {"bridge": [h for h in self.hosts if h.bridge.is_running()],
                "broker": [h for h in self.hosts if h.broker.process.is_running()],
                "runner": [h for h in self.hosts if h.has_runner and h.runners()],
                "redis": [self.server] if self.server.process.is_running() else []}

    def kill_one(self):
        victims = self.victims()
        kinds = [kind for kind in WEIGHTS if victims[kind]]
        if not kinds:
            return
        kind = self.random.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        victim = self.random.choice(victims[kind])
        if kind == "runner":
            if not victim.kill_runner():  # it has just ended; the broker starts another one
                return
        elif kind == "bridge":
            victim.bridge.kill()
            self.later(ABSENCES, victim.start_bridge)
        elif kind == "broker":
            victim.broker.process.kill()
            self.later(ABSENCES, victim.broker.start)
        else:
            victim.process.kill()
            self.later(ABSENCES, victim.start)
        self.records.kills[kind] += 1

    def stall_one(self):
        """Stops a bridge for so long that others take its tasks over, and lets it go on with them."""
        running = [h.bridge for h in self.hosts if h.bridge.is_running()]
        if running:
            bridge = self.random.choice(running)
            bridge.popen.send_signal(signal.SIGSTOP)
            self.later(STALLS, lambda: bridge.popen.send_signal(signal.SIGCONT))
            self.records.counts["stalled"] += 1

    def come_and_go(self, kills):
        end = time.monotonic() + self.o.seconds
        next_kill = time.monotonic() + 0.5
        next_stall = time.monotonic() + (1 if self.o.stall else float("inf"))
        while time.monotonic() < end and sum(self.records.kills.values()) < kills:
            self.do_what_is_due()
            if time.monotonic() > next_kill:
                self.kill_one()
                next_kill = time.monotonic() + self.random.uniform(*PAUSES)
            if time.monotonic() > next_stall:
                self.stall_one()
                next_stall = time.monotonic() + self.random.uniform(2, 4)
            self.note_ends()
            time.sleep(0.01)
        for feeder in self.feeders:
            feeder.stopping.set()
        self.do_what_is_due(all_of_it=True)
        for feeder in self.feeders:
            feeder.join(PATIENCE)
            if feeder.is_alive() or feeder.error:
                raise Trouble(f"feeder {feeder.number} did not end well: {feeder.error}")

    def note_ends(self):
        """Of programs that nobody has killed: each is a failure, and they are started again."""
        for process, start in [(self.server.process, self.server.start)] + [
                pair for h in self.hosts for pair in ((h.bridge, h.start_bridge), (h.broker.process, h.broker.start))]:
            code = process.popen.poll()
            if code is not None and code != -signal.SIGKILL:
                self.records.fail(f"{process.name} ended with {code}: {process.tail(500)}")
                start()

    # ---- until nothing is left to do ----

    def drain(self):
        with self.server.connect() as connection:
            before, since = None, time.monotonic()
            while True:
                left = left_in(connection, STREAM, GROUP)
                if is_empty(left):
                    return
                if left != before:
                    before, since = left, time.monotonic()
                elif time.monotonic() - since > PATIENCE:
                    tails = [f"--- {p.name}:\n{p.tail()}" for h in self.hosts for p in (h.bridge, h.broker.process)]
                    raise Trouble("\n".join([f"nothing has moved for {PATIENCE} s: {left}",
                                             state_of(connection, STREAM, GROUP), *tails]))
                self.note_ends()
                time.sleep(0.02)

    def end(self, process):
        code = process.end()
        if code is None:
            self.records.fail(f"{process.name} does not end: {process.tail(500)}", "hung")
        elif code not in (0, *UNBEGUN):
            self.records.fail(f"{process.name} ended with {code} after SIGINT: {process.tail(500)}")

    def end_all(self):
        for host in self.hosts:
            self.end(host.bridge)
        for host in self.hosts:
            self.end(host.broker.process)
        for host in self.hosts:
            for name in host.leftovers():
                self.records.fail(f"left behind: {name}", "leaked")
            self.records.counts["taken_over"] += host.taken_over(self.records)

    def judge(self):
        with self.server.connect() as connection:
            self.terms.judge(connection)
        counts = self.records.counts
        counts["redelivered"] = counts["taken_over"] + counts["added_again"]

    def run(self, kills=float("inf")):
        begin = time.monotonic()
        try:
            self.start()
            self.come_and_go(kills)
            self.drain()
            self.end_all()
            self.judge()
        except Trouble as trouble:
            self.records.fail(str(trouble), "hung")
        except (OSError, RedisError) as error:
            self.records.fail(f"{error!r}; the server says: {self.server.process.tail(500)}", "hung")
        finally:
            for feeder in self.feeders:
                feeder.stopping.set()
            self.processes.kill_all()
            for host in self.hosts:
                host.broker.clean()
        return self.records.summary(self.seed, time.monotonic() - begin)

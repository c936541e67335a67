"""One round of scripts/soak: a broker, clients that come and go around it, and in the end the terms.

Here so that the order of a round stands in one place. The order is part of what is tested: the last consumers drain the
queues, everybody ends, the broker is asked what is left, and only then is it stopped. More may happen while clients
come and go; every wait must end within the broker's patience.
"""
import glob
import os
import random
import time

from soak_broker import Broker, groups_of
from soak_clients import Clients
from soak_records import Records
from soak_report import summary
from soak_terms import Terms


class Round:
    def __init__(self, o, seed, directory, out):
        self.o, self.seed = o, seed
        self.records = Records(directory, out)
        self.broker = Broker(o, seed, self.records)
        self.clients = Clients(o, seed, self.records, self.broker)
        self.terms = Terms(o, self.records, self.broker)
        self.random = random.Random(seed + 1)
        self.paused = []  # what `ipcq pause` was asked for

    # ---- while clients come and go ----

    def watch_for_standstill(self):
        """A queue whose consumers write nothing for a minute, while clients come and go all the time."""
        now = time.time()
        if now < self.next_look:
            return
        self.next_look = now + 5
        for queue in self.broker.specs:
            if queue == "frames":
                continue
            size = sum(os.path.getsize(path) for path in glob.glob(self.records.path(f"out-{queue}-*")))
            before, since = self.progress.get(queue, (-1, now))
            if size != before:
                self.progress[queue] = (size, now)
            elif now - since > self.broker.patience:
                self.records.fail(f"queue {queue} stands still", "hung")
                self.broker.dump(queue)
                self.progress[queue] = (size, now)

    def switch_executor(self, executor):
        said = self.broker.ask("executor", "slots", executor)
        if said and said.returncode:
            self.records.endings.append(f"ipcq executor: {said.stderr.strip()}")

    def pause_or_go_on(self):
        """Half of the pauses are of a whole queue, the others of one of its groups."""
        if not self.paused:
            queue = self.random.choice(sorted(self.broker.specs))
            group = self.random.choice(["", *groups_of(queue)])
            self.paused = [queue, *(["--group", group] if group else [])]
            said = self.broker.ask("pause", *self.paused)
        else:
            said = self.broker.ask("resume", *self.paused)
        if said and said.returncode:  # its runner has just ended
            self.records.endings.append(f"ipcq pause or resume: {said.stderr.strip()}")
        elif self.paused and said and said.args[1] == "resume":
            self.paused = []

    def come_and_go(self, kills):
        end = time.time() + self.o.seconds
        next_kill = time.time() + (self.o.kill_runner or float("inf"))
        next_switch = time.time() + (1 if self.o.switch else float("inf"))
        next_pause = time.time() + (0.5 if self.o.pause else float("inf"))
        executors = ["stream", "persistent"]
        self.progress, self.next_look = {}, 0
        while time.time() < end and self.broker.is_running() and sum(self.records.kills.values()) < kills:
            self.clients.reap()
            self.clients.fill_up(self.o.clients, self.o.clients)
            self.clients.end_some()
            self.watch_for_standstill()
            if time.time() > next_kill:
                self.broker.kill_runners()
                next_kill = time.time() + self.o.kill_runner
            if time.time() > next_switch:
                self.switch_executor(executors[0])
                executors.reverse()
                next_switch = time.time() + 1
            if time.time() > next_pause:
                self.pause_or_go_on()
                next_pause = time.time() + self.random.uniform(0.05, 0.5)
            time.sleep(0.01)
        while self.paused and self.broker.is_running():
            self.pause_or_go_on()
            time.sleep(0.05)

    # ---- until nobody is left ----

    def wait_until(self, done):
        deadline = time.time() + self.broker.patience
        while not done():
            if time.time() > deadline or not self.broker.is_running():
                return False
            self.clients.reap()
            time.sleep(0.05)
        return True

    def with_last_consumers(self, done):
        def step():
            self.clients.fill_up(0, 1, last=True)
            return done()
        return self.wait_until(step)

    def producers_ended(self):
        return all(c.group for c in self.clients.present)

    def is_drained(self):
        stats = self.broker.stats()
        return stats is not None and all(group["waiting"] + group["held"] == 0
                                         for queue in stats["queues"] for group in queue["groups"])

    def drain(self):
        """What producers have left is taken by consumers that stay until nothing is left. Then everybody ends."""
        self.clients.end_none()
        self.clients.kill_consumers()
        if self.wait_until(lambda: not any(c.group for c in self.clients.present)):
            self.with_last_consumers(self.producers_ended)
        for queue in self.broker.specs:  # one more of each: the queues still serve
            self.clients.start_producer(queue, last=True)
        ended = self.with_last_consumers(lambda: self.producers_ended() and self.is_drained())
        if ended:
            self.clients.interrupt_consumers()
        if ended and self.wait_until(lambda: not self.clients.present):
            return
        if not self.broker.is_running():
            return  # Broker.stop() says so
        for c in self.clients.present:
            self.records.fail(f"{c.role} {c.number} of {c.queue} does not end, or its queue is not drained", "hung")
        for queue in self.broker.specs:
            self.broker.dump(queue)

    # ---- the whole ----

    def run(self, kills):
        """Returns the summary of the round, which ends early when so many processes were killed."""
        began = time.time()
        stats = None
        self.broker.start()
        try:
            self.come_and_go(kills)
            churned = time.time() - began
            self.drain()
        finally:
            self.clients.end_all()
            if self.broker.is_running():
                stats = self.terms.check_leaks()
            self.broker.stop()
            self.terms.check_names()
        self.terms.check_lines(stats)
        if not self.records.failures and not self.o.keep:
            self.remove_files()
        return summary(self.seed, self.records, self.clients.number, churned)

    def remove_files(self):
        for pattern in ("in-*", "out-*", "producer-*", "consumer-*"):
            for path in glob.glob(self.records.path(pattern)):
                os.unlink(path)

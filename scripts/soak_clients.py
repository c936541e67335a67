"""The clients of a round of scripts/soak: what they send or receive, when they are ended, and how they have ended.

Here so that the random choices of a round stand in one place. Choices may be added and changed, and seeds then mean
other rounds than before. A line must keep the form `p<producer> <place> ... <crc>`, and the output of a consumer its
name `out-<queue>-<group>-<number>`: soak_terms.py reads both.
"""
import collections
import contextlib
import json
import random
import signal
import time
import zlib

from soak_broker import groups_of

FILLS = {"slots": (0, 1, 30, 100, 500, 3000), "inline": (0, 1, 8, 40), "plain": (0, 1, 30, 100, 200),
         "own": (0, 1, 30, 100, 500, 3000)}


class Client:
    """One ipcq-producer or ipcq-consumer, and when it is to be ended."""

    def __init__(self, number, queue, group, process, ends_at, lines=0):
        self.number, self.queue, self.group = number, queue, group
        self.process, self.ends_at, self.lines = process, ends_at, lines
        self.told = None  # the signal that it was sent

    @property
    def role(self):
        return "consumer" if self.group else "producer"

    def tell(self, sent):
        self.told = sent
        self.process.send_signal(sent)


class Clients:
    def __init__(self, o, seed, records, broker):
        self.o, self.records, self.broker = o, records, broker
        self.random = random.Random(seed)
        self.present = []  # started, and their end not yet seen
        self.number = 0    # started so far; each has its own

    # ---- they come ----

    def place(self, queue):
        """Frames are made and checked on the GPU by half of their clients, lines always on the CPU."""
        return ["--device", "0"] if queue == "frames" and self.random.random() < 0.5 else ["--cpu-only"]

    def write_lines(self, path, number, queue, lines):
        with open(path, "w") as f:
            for place in range(lines):
                body = f"p{number} {place} {'x' * self.random.choice(FILLS[queue])}"
                f.write(f"{body} {zlib.crc32(body.encode()):08x}\n")

    def start_client(self, queue, group, arguments, ends_at, lines=0):
        role = "consumer" if group else "producer"
        name = f"{role}-{self.number}"
        command = [self.broker.program(f"ipcq-{role}"), queue, "--json", "--wait-for", "20", *self.place(queue),
                   *arguments]
        with open(self.records.path(f"{name}.json"), "w") as out:
            process = self.broker.start_program(command, f"{name}.log", stdout=out)
        self.present.append(Client(self.number, queue, group, process, ends_at, lines))

    def start_producer(self, queue, last=False):
        self.number += 1
        lines = 0
        if queue == "frames":
            arguments = ["--generate", "4k", "--count", str(self.random.randrange(3, 60))]
        else:
            lines = self.random.randrange(1, 4000)
            source = self.records.path(f"in-{self.number}")
            self.write_lines(source, self.number, queue, lines)
            arguments = ["--lines", "--input", source]
            if self.random.random() < 0.5:  # slow enough to be killed in the middle
                arguments += ["--batch", "16", "--rate", str(lines / self.random.uniform(0.2, 2))]
        ends_at = float("inf") if last else time.time() + self.random.uniform(0.05, 1.5)
        self.start_client(queue, None, arguments, ends_at, lines)

    def start_consumer(self, queue, group, last=False):
        self.number += 1
        output = self.records.path(f"out-{queue}-{group}-{self.number}")
        arguments = ["--group", group, "--follow", *(["--verify"] if queue == "frames" else ["--output", output])]
        ends_at = float("inf") if last else time.time() + self.random.uniform(0.05, 2)
        self.start_client(queue, group, arguments, ends_at)

    def fill_up(self, producers, consumers, last=False):
        for queue in self.broker.specs:
            here = collections.Counter(c.group for c in self.present if c.queue == queue)
            for _ in range(here[None], min(producers, 2) if queue == "frames" else producers):
                self.start_producer(queue)
            for group in groups_of(queue):
                for _ in range(here[group], 1 if queue == "frames" else consumers):
                    self.start_consumer(queue, group, last)

    # ---- they go ----

    def end_some(self):
        for c in [c for c in self.present if c.ends_at < time.time()]:
            gentle = self.random.random() < 0.25 or (self.o.gentle and c.queue == "frames")
            c.told = signal.SIGINT if gentle else signal.SIGKILL
            c.ends_at = float("inf")
            if c.process.poll() is not None:
                continue  # it was faster
            c.process.send_signal(c.told)
            if gentle:
                self.records.counts["interrupted"] += 1
            else:
                self.records.kills[c.role] += 1

    def end_none(self):
        for c in self.present:
            c.ends_at = float("inf")

    def kill_consumers(self):
        for c in self.present:
            if c.group and c.told is None:  # the others are to end by themselves
                c.tell(signal.SIGKILL)
                self.records.kills[c.role] += 1

    def interrupt_consumers(self):
        for c in self.present:
            if c.group:
                c.tell(signal.SIGINT)

    def end_all(self):
        for c in self.present:
            c.tell(signal.SIGKILL)
            c.process.wait()
        self.reap()

    # ---- how they have ended ----

    def result(self, c):
        """The object that a client printed at its end; None when it came to none."""
        lines = self.records.read(f"{c.role}-{c.number}.json").strip().splitlines()
        with contextlib.suppress(ValueError, IndexError):
            return json.loads(lines[-1])
        return None

    def reap(self):
        for c in [c for c in self.present if c.process.poll() is not None]:
            self.present.remove(c)
            self.note_end(c)

    def note_end(self, c):
        records, code = self.records, c.process.returncode
        # Ended by SIGINT before it had begun: there was nothing to end.
        unbegun = c.told == signal.SIGINT and code in (130, -signal.SIGINT)
        ended_well = code == 0 or unbegun
        if not ended_well and c.told != signal.SIGKILL:
            records.endings.append(f"{c.role} {c.number} of {c.queue} ended with {code}: "
                                   f"{records.read(f'{c.role}-{c.number}.log').strip()[-300:]}")
        said = self.result(c)
        if c.group:
            records.survived[c.number] = ended_well
            records.returned[c.queue] += said.get("returned", 0) if said else 0
        elif c.queue != "frames":
            records.sent[c.number] = (c.queue, said["messages"] if said else 0 if unbegun else None)
            if code == 0 and c.told is None and said and said["messages"] != c.lines:
                records.fail(f"producer {c.number} of {c.queue} sent {said['messages']} of {c.lines} lines")
        if c.queue == "frames" and c.group and said and said["bad_bytes"] != 0:
            records.fail(f"consumer {c.number} of frames: {said}", "corrupt", said["bad_bytes"])

"""The terms of scripts/soak-redis that a round must meet (their meaning: scripts/soak-redis --help), judged when all
but the server have ended.

Here so that what counts as lost, doubled, wrong or strange stands apart from what causes it. It knows only what feeders
have sent and been told, and what is in the server's streams in the end. A term may become stricter; one that becomes
milder says beside it why that is no fault.
"""
import collections

from redis_processes import entries_of, is_empty, left_in
from soak_redis_feeders import FIELD, STREAM, is_whole
from soak_redis_hosts import GROUP


class Terms:
    def __init__(self, records, feeders):
        self.records, self.feeders = records, feeders
        self.tasks = {}  # payloads by the ids of their entries

    def judge(self, connection):
        self.collect_tasks(connection)
        self.check_results(connection)
        self.check_dead_letters(connection)
        left = left_in(connection, STREAM, GROUP)
        if not is_empty(left):
            self.records.fail(f"when all had ended there was something left: {left}", "hung")

    def collect_tasks(self, connection):
        """What feeders were told to be in the stream, and of what they were told nothing that which is there."""
        confirmed, unsure = {}, set()
        for feeder in self.feeders:
            confirmed.update(feeder.confirmed)
            unsure |= feeder.unsure
        self.tasks = dict(confirmed)
        there = set()
        for entry, fields in entries_of(connection, STREAM):
            named = dict(zip(fields[::2], fields[1::2]))
            payload = named.get(FIELD)
            if b"ipcq-id" in named:
                self.check_added_again(entry, named, confirmed, unsure)
            elif entry in confirmed:
                there.add(entry)
                if payload != confirmed[entry]:
                    self.strange(f"task {entry} has another payload than it was sent with", payload)
            elif payload in unsure:
                unsure.remove(payload)  # it was sent once
                self.tasks[entry] = payload
                self.records.counts["unconfirmed"] += 1
            else:
                self.strange(f"task {entry} was never sent", payload)
        gone = [entry for entry in confirmed if entry not in there]
        if gone:
            self.records.fail(f"{len(gone)} confirmed tasks are not in the server's stream any more, the first "
                              f"{gone[0]}", "strange", len(gone))
        self.records.counts["tasks"] = len(self.tasks)

    def check_added_again(self, entry, named, confirmed, unsure):
        """One that a bridge has delayed keeps its payload and the id of its first entry, which came before it."""
        self.records.counts["added_again"] += 1
        origin, payload = named[b"ipcq-id"], named.get(FIELD)
        known = confirmed.get(origin) or self.tasks.get(origin)
        if known is None or known != payload:
            self.strange(f"task {entry} was added again for {origin}, with another payload or for none", payload)

    def strange(self, text, payload):
        damaged = "" if payload and is_whole(payload.lower()) else ", damaged"
        self.records.fail(f"{text}{damaged}: {(payload or b'')[:60]}", "strange")

    def check_results(self, connection):
        seen = collections.Counter()
        for entry, fields in entries_of(connection, f"{STREAM}:results"):
            named = dict(zip(fields[::2], fields[1::2]))
            task, result = named.get(b"id"), named.get(b"result", b"")
            self.records.counts["results"] += 1
            if len(fields) != 4 or task not in self.tasks:
                self.strange(f"result {entry} is of no task: fields {fields[::2]}, id {task}", result)
                continue
            seen[task] += 1
            if result != self.tasks[task].upper():
                self.records.fail(f"result {entry} of task {task} is {result[:60]}, and the task was "
                                  f"{self.tasks[task][:60]}", "wrong")
        for task, count in seen.items():
            if count > 1:
                self.records.fail(f"task {task} has {count} results", "doubled", count - 1)
        for task, payload in self.tasks.items():
            if task not in seen:
                self.records.fail(f"task {task} has no result: {payload[:60]}", "lost")

    def check_dead_letters(self, connection):
        for entry, fields in entries_of(connection, f"{STREAM}:dead"):
            named = dict(zip(fields[::2], fields[1::2]))
            self.records.fail(f"task {named.get(b'ipcq-id')} is a dead letter: {named.get(b'ipcq-reason')}", "dead")

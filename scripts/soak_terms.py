"""The terms of scripts/soak that a round must meet (their meaning: scripts/soak --help), judged when all have gone.

Here so that what counts as lost, doubled, corrupt or leaked stands apart from what causes it. A term may become
stricter; one that becomes milder says beside it which guarantee of docs/design/guarantees.md allows that. Each check is
seen to fail by tests/programs/soak_terms_test.py: a new one needs a line there.
"""
import collections
import glob
import re
import time
import zlib

from soak_broker import groups_of

DEPTH = ("claimed", "ready", "inflight", "done", "reading", "quarantined")


class Terms:
    def __init__(self, o, records, broker):
        self.o, self.records, self.broker = o, records, broker
        # (queue, group) -> producer -> places of its lines that came to any consumer, and to one that ended well
        self.seen = collections.defaultdict(lambda: collections.defaultdict(set))
        self.firm = collections.defaultdict(lambda: collections.defaultdict(set))
        self.failed = collections.defaultdict(set)  # (queue, group) -> (producer, place) of lines not processed

    def fail(self, text, term=None, count=1):
        self.records.fail(text, term, count)

    # ---- what is left ----

    def leaks_of(self, stats):
        """What remains, as texts, though no client is there."""
        for queue in stats["queues"]:
            name, depth = f"queue {queue['name']}", queue["depth"]
            for state in DEPTH:
                if depth[state]:
                    yield f"{name}: {depth[state]} slots {state}"
            missing = queue["slots"] - depth["empty"] - sum(depth[state] for state in DEPTH)
            if missing:
                yield f"{name}: {missing} slots in no state"
            if queue["endpoints"]:
                yield f"{name}: {len(queue['endpoints'])} endpoints: {queue['endpoints']}"
            for group in queue["groups"]:
                for term in ("members", "waiting", "held"):
                    if group[term]:
                        yield f"{name}, group {group['name']}: {group[term]} {term}"
        if stats["clients"] > 1:  # the one that asks
            yield f"{stats['clients'] - 1} clients"
        more = self.broker.descriptors() - self.broker.descriptors_at_start
        if more > 0 and self.o.backend == "host":
            yield f"{more} descriptors of the broker"

    def check_leaks(self):
        """The counters as they are at the end; a repair may take a moment."""
        stats, leaks = None, []
        for _ in range(50):
            stats = self.broker.stats()
            if stats is None:
                return None
            leaks = list(self.leaks_of(stats))
            if not leaks:
                break
            time.sleep(0.2)
        for text in leaks:
            self.fail(f"leaked: {text}", "leaked")
        return stats

    def check_names(self):
        """When the broker has gone, too."""
        for left in self.broker.names_left():
            self.fail(f"leaked: {left}", "leaked")

    # ---- what has arrived ----

    def check_file(self, path, queue, group):
        """Notes the lines of one consumer, and returns how many came behind a later one of their producer."""
        late = 0
        last, here = {}, collections.defaultdict(set)
        survived = self.records.survived.get(int(path.rsplit("-", 1)[1]), False)
        seen, firm = self.seen[queue, group], self.firm[queue, group]
        with open(path, "rb") as f:
            lines = f.read().split(b"\n")
        for raw in lines[:-1]:  # the last has no end: its writer was killed within it
            processed = queue == "plain" or raw == raw.upper()
            if not processed and queue != "own":
                self.fail(f"{path}: not processed: {raw[:60]!r}", "corrupt")
            body, _, crc = raw.lower().rpartition(b" ")
            if b"%08x" % zlib.crc32(body) != crc:
                self.fail(f"{path}: damaged: {raw[:60]!r}", "corrupt")
                continue
            producer, place = (int(word) for word in body[1:].split(b" ", 2)[:2])
            if not processed:
                self.failed[queue, group].add((producer, place))
            late += place < last.get(producer, -1)
            last[producer] = max(place, last.get(producer, -1))
            # Twice is right where a consumer died with the message: it may have written it already.
            if place in here[producer] or (survived and place in firm[producer]):
                self.fail(f"{path}: line {place} of producer {producer} came twice", "doubled")
            here[producer].add(place)
        for producer, places in here.items():
            seen[producer] |= places
            if survived:
                firm[producer] |= places
        self.records.counts["at work"] += bool(here) and not survived
        return late

    def check_gaps(self, queue, announced):
        """Lines that a producer was told `ok` for, or that came in one group and not in another."""
        groups = groups_of(queue)
        known = {}
        for producer, (of, lines) in self.records.sent.items():
            if of == queue:
                known[producer] = lines or 0
        for group in groups:
            for producer, places in self.seen[queue, group].items():
                known[producer] = max(known.get(producer, 0), max(places) + 1)
        self.records.counts["known to be sent"] += sum(known.values())
        most = 0
        for group in groups:
            missing = 0
            for producer, lines in known.items():
                gap = lines - len(self.seen[queue, group].get(producer, ()))
                if gap and not announced:
                    self.fail(f"{queue}, group {group}: {gap} of {lines} lines of producer {producer} missing",
                              "lost", gap)
                missing += gap
            most = max(most, missing)
        if announced and most > announced:
            self.fail(f"{queue}: {most} lines missing, and {announced} announced", "lost", most - announced)

    def check_order(self, queue, log):
        """Reads all lines that came of a queue. As many may be out of order as were given back."""
        late = 0
        for group in groups_of(queue):
            for path in sorted(glob.glob(self.records.path(f"out-{queue}-{group}-*"))):
                late += self.check_file(path, queue, group)
        returned = sum(map(int, re.findall(rf"queue '{queue}': after consumer.* (\d+) messages given back", log)))
        returned += self.records.returned[queue]
        if late > returned:
            self.fail(f"{queue}: {late} lines out of order, and {returned} messages were given back", "corrupt",
                      late - returned)

    def check_failed(self, queue, q):
        """What a user's handler had in work when its process died is passed on as it was, and counted (guarantees.md,
        "Who dies, what do I get")."""
        counted = q["handler_errors"] if q else 0
        for group in groups_of(queue):
            failed = len(self.failed[queue, group])
            self.records.counts["failed"] += failed
            if failed > counted:
                self.fail(f"{queue}, group {group}: {failed} lines not processed, and {counted} counted", "corrupt",
                          failed - counted)

    def check_received(self, queue, announced, confirmed):
        """What came in each group, against what was sent and what the broker counts; `confirmed` is None if the broker
        does not know any more. A loss that one check has found is not counted by the next."""
        lost_before = self.records.bad["lost"]
        self.check_gaps(queue, announced)
        for group in groups_of(queue):
            received = sum(len(places) for places in self.seen[queue, group].values())
            self.records.counts["received"] += received
            if confirmed is not None and received != confirmed and self.records.bad["lost"] == lost_before:
                self.fail(f"{queue}, group {group}: {confirmed} confirmed, {received} received",
                          "lost" if received < confirmed else "doubled", abs(received - confirmed))

    def check_counters(self, q, runner_died):
        """What the broker counted of a queue."""
        queue = q["name"]
        if not runner_died:
            self.records.counts["confirmed"] += q["published"]
        for group in q["groups"]:
            if group["lost"] and not (runner_died or queue == "frames"):
                self.fail(f"{queue}, group {group['name']}: the broker counts {group['lost']} lost", "lost",
                          group["lost"])
            if queue == "frames":
                self.records.counts["received"] += group["delivered"]

    def check_queue(self, queue, q, runner_died, log):
        announced = sum(map(int, re.findall(rf"queue '{queue}': the runner of .* and with it (\d+) messages", log)))
        self.records.counts["announced"] += announced
        if q:
            self.check_counters(q, runner_died)
        if queue == "frames":
            return
        self.check_order(queue, log)
        self.check_failed(queue, q)
        self.check_received(queue, announced, q["published"] if q and not runner_died else None)

    def check_lines(self, stats):
        """`stats` are the broker's of the end; None when it did not answer."""
        counts, log = self.records.counts, self.records.read("broker.log")
        # The death of the host runner ends no queue.
        runner_died = stats is None or (self.o.backend == "cuda" and stats["runner_deaths"] != 0)
        if not runner_died:
            for text in self.records.endings:
                self.fail(text)
        counters = {queue["name"]: queue for queue in stats["queues"]} if stats else {}
        for queue in self.broker.specs:
            self.check_queue(queue, counters.get(queue), runner_died, log)
        senders = {producer for seen in self.seen.values() for producer in seen}
        counts["at work"] += sum(lines is None and producer in senders
                                 for producer, (_, lines) in self.records.sent.items())
        if runner_died:  # the counters of the queues that went are gone with them
            counts["confirmed"] = counts["known to be sent"]

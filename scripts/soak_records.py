"""What a round of scripts/soak writes down: files and counts, for the terms to be judged by at the end.

Here so that those that note something (soak_clients.py, soak_broker.py, soak_round.py) and what judges it
(soak_terms.py) need to know of each other nothing but these fields. A field may be added; what one means may be changed
only with every place that writes or reads it. BAD and ROLES are keys of the report, which users of --json read.
"""
import collections
import os

BAD = ("lost", "doubled", "corrupt", "leaked", "hung")
ROLES = ("producer", "consumer", "runner")
MOST_SHOWN = 50  # failures; all are counted


class Records:
    def __init__(self, directory, out):
        self.directory, self.out = directory, out
        self.failures = []
        self.bad = collections.Counter()     # by the terms of BAD
        self.kills = collections.Counter()   # by the roles of ROLES
        self.counts = collections.Counter()  # by the other terms
        self.sent = {}      # producer -> (queue, lines that it was told `ok` for, or None)
        self.survived = {}  # consumer -> whether it ended by itself, with nothing in its hands
        self.returned = collections.Counter()  # by consumers that were ended, of each queue
        self.endings = []   # ends that only the death of a runner explains
        os.makedirs(directory, exist_ok=True)

    def fail(self, text, term=None, count=1):
        self.failures.append(text)
        if term:
            self.bad[term] += count
        if len(self.failures) <= MOST_SHOWN:
            self.say(f"soak: {text}")

    def say(self, text):
        print(text, file=self.out, flush=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), errors="replace") as f:
            return f.read()

"""What a round of scripts/soak-redis writes down, and what is reported of it.

Here so that those that note something (soak_redis_hosts.py, soak_redis_round.py) and what judges it
(soak_redis_terms.py) need to know of each other nothing but these fields. BAD and KINDS are keys of the report, which
users of --json read: they may be added to.
"""
import collections

BAD = ("lost", "doubled", "wrong", "strange", "dead", "leaked", "hung")
KINDS = ("bridge", "broker", "runner", "redis")
COUNTS = ("stalled", "tasks", "unconfirmed", "results", "taken_over", "added_again", "redelivered")
MOST_SHOWN = 50  # failures; all are counted


class Records:
    def __init__(self, out):
        self.out = out
        self.failures = []
        self.bad = collections.Counter()     # by the terms of BAD
        self.kills = collections.Counter()   # by KINDS
        self.counts = collections.Counter()  # by COUNTS

    def fail(self, text, term=None, count=1):
        self.failures.append(text)
        if term:
            self.bad[term] += count
        if len(self.failures) <= MOST_SHOWN:
            self.say(text)

    def say(self, text):
        print(f"soak-redis: {text}", file=self.out, flush=True)

    def summary(self, seed, seconds):
        return {"seed": seed, "seconds": round(seconds, 1), "killed": {kind: self.kills[kind] for kind in KINDS},
                **{count: self.counts[count] for count in COUNTS}, **{term: self.bad[term] for term in BAD},
                "failures": len(self.failures)}


def total_of(rounds):
    return {"killed": {kind: sum(r["killed"][kind] for r in rounds) for kind in KINDS},
            **{term: sum(r[term] for r in rounds) for term in (*COUNTS, *BAD, "failures")}}


def as_text(r):
    by_kind = ", ".join(f"{r['killed'][kind]} {kind}" for kind in KINDS)
    terms = ", ".join(f"{r[term]} {term.replace('_', ' ')}" for term in (*COUNTS[1:], *BAD))
    stalled = f", {r['stalled']} stalled" if r["stalled"] else ""
    verdict = "all right" if not r["failures"] else f"{r['failures']} FAILURES"
    return f"{sum(r['killed'].values())} killed ({by_kind}){stalled}; {terms}; {verdict}"

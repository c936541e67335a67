"""What scripts/soak reports: a round's terms as an object, the sum over rounds, and either of them as a line of text.

Here so that the keys of --json and the words of the text stand beside each other. Keys may be added: to summary(), and
to total_of() where they can be summed. scripts/gpu-check takes the text of a round from the log; users read the keys.
"""
from soak_records import BAD, ROLES


def summary(seed, records, clients, seconds):
    """Of one round, in which so many clients came and went for so many seconds."""
    counts = records.counts
    return {"seed": seed,
            "killed": {role: records.kills[role] for role in ROLES},
            "at_work": counts["at work"],
            "interrupted": counts["interrupted"],
            "clients": clients,
            "kills_per_s": round(sum(records.kills.values()) / max(seconds, 1e-9), 1),
            "confirmed": counts["confirmed"],
            "received": counts["received"],
            "announced": counts["announced"],
            "failed": counts["failed"],
            **{term: records.bad[term] for term in BAD},
            "failures": len(records.failures)}


def total_of(rounds):
    total = {"killed": {role: sum(r["killed"][role] for r in rounds) for role in ROLES}}
    for term in ("at_work", "interrupted", "clients", "confirmed", "received", "announced", "failed", *BAD, "failures"):
        total[term] = sum(r[term] for r in rounds)
    return total


def as_text(r):
    killed = sum(r["killed"].values())
    by_role = ", ".join(f"{n} {role}s" for role, n in r["killed"].items() if n)
    terms = ", ".join(f"{r[term]} {term}" for term in ("confirmed", "received", "announced", "failed", *BAD))
    verdict = "all right" if not r["failures"] else f"{r['failures']} FAILURES"
    return f"{r['clients']} clients, {killed} killed ({by_role}; {r['at_work']} at work), {terms}; {verdict}"

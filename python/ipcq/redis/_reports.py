"""What a bridge reports: its counters while it runs, its sums at the end."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

_PATIENCE = 5.0  # seconds for an answer of the program's own thread


@dataclass(frozen=True)
class Summary:
    """What a bridge has done from its start to its end, in tasks unless something else is said.

    Attributes:
        queue: That worked on them.
        read: That came out of Redis, those taken over included.
        taken_over: Of these: that another bridge had left.
        done: Whose result is written, or that have none.
        retried: Attempts that failed, and were followed by another.
        dead: That went to the dead letters.
        given_back: That nobody worked on, since the broker had gone or no server was there.
        ended_elsewhere: Whose outcome another bridge had written.
        deleted: Whose entries were deleted while they were worked on: nothing was written.
        replies_failed: Replies that could not be written.
        write_errors: Outcomes that the server refused, and that were written again later.
        reconnects: Connections to the server that were made anew.
        broker_losses: Times that the broker or the queue had gone.
        moved: Delayed tasks that it put into their stream.
        trimmed: Entries that it deleted, acknowledged ones.
        unfinished: That it had when it ended at once; others take them over.
        seconds: From its start to its end.
        working_seconds: From the first task to the last outcome.
    """

    queue: str
    read: int
    taken_over: int
    done: int
    retried: int
    dead: int
    given_back: int
    ended_elsewhere: int
    deleted: int
    replies_failed: int
    write_errors: int
    reconnects: int
    broker_losses: int
    moved: int
    trimmed: int
    unfinished: int
    seconds: float
    working_seconds: float


@dataclass(frozen=True)
class SourceSizes:
    """How many tasks of a source there are in the server, as it said within the last two seconds.

    None: the server cannot say, as of the entries of a stream of which some were deleted in between.

    Attributes:
        source: Its name.
        waiting: That no consumer has.
        taken: That the consumers of all bridges together have, not ended.
        delayed: That wait for their next attempt or time.
        dead: Letters.
    """

    source: str
    waiting: int | None
    taken: int | None
    delayed: int | None
    dead: int | None


@dataclass(frozen=True)
class Counters:
    """What a bridge has done so far, in tasks unless something else is said; as ``/metrics`` of the program shows it.

    Attributes:
        read: That came out of Redis, those taken over included.
        taken_over: Of these: that another bridge had left.
        done: Whose result is written, or that have none.
        retried: Attempts that failed, and are followed by another.
        dead: That went to the dead letters.
        given_back: That nobody worked on, since the broker had gone or no server was there.
        ended_elsewhere: Whose outcome another bridge had written.
        deleted: Whose entries were deleted while they were worked on: nothing was written.
        replies_failed: Replies that could not be written.
        write_errors: Outcomes that the server refused, written again later.
        reconnects: Connections to the server that were made anew.
        broker_losses: Times that the broker or the queue had gone.
        moved: Delayed tasks that it put into their stream.
        trimmed: Entries that it deleted, acknowledged ones.
        result_bytes: Bytes of results.
        running: In the queue now.
        unfinished: Read, and their outcome is not confirmed yet.
        connected: Whether the server is connected.
        attached: Whether the broker is attached.
        servers: How many are attached to the queue; None: a handler answers its calls, or there is no broker.
        sources: What there is of each in the server; empty until that was asked for, and while it is not connected.
        finished: Whose outcome is confirmed; the next two are about their times.
        total_seconds: Of all of these together, each from its reading until its outcome was confirmed.
        buckets: A histogram: seconds, and how many of these took at most that; the last is infinite.
    """

    read: int
    taken_over: int
    done: int
    retried: int
    dead: int
    given_back: int
    ended_elsewhere: int
    deleted: int
    replies_failed: int
    write_errors: int
    reconnects: int
    broker_losses: int
    moved: int
    trimmed: int
    result_bytes: int
    running: int
    unfinished: int
    connected: bool
    attached: bool
    servers: int | None
    sources: tuple[SourceSizes, ...]
    finished: int
    total_seconds: float
    buckets: tuple[tuple[float, int], ...]


_COUNTER_NAMES = {  # behind "ipcq_redis_"
    **{
        name: f"tasks_{name}_total"
        for name in (
            "read",
            "taken_over",
            "done",
            "retried",
            "dead",
            "given_back",
            "ended_elsewhere",
            "deleted",
            "moved",
        )
    },
    **{
        name: f"{name}_total"
        for name in ("replies_failed", "write_errors", "reconnects", "broker_losses", "result_bytes")
    },
    "trimmed": "entries_trimmed_total",
    "running": "tasks_running",
    "unfinished": "tasks_unfinished",
    "finished": "task_seconds_count",
}


_SIZES = ("waiting", "taken", "delayed", "dead")  # behind "ipcq_redis_source_"


def _plain(label: str) -> str:
    return re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] == "n" else escaped[1], label)


def _sources_of(text: str) -> tuple[SourceSizes, ...]:
    sizes: dict[str, dict[str, int]] = {}
    for size, name, value in re.findall(
        r'^ipcq_redis_source_(\w+)\{.*source="((?:[^"\\]|\\.)*)"\} (\d+)$', text, re.MULTILINE
    ):
        sizes.setdefault(_plain(name), {})[size] = int(value)
    return tuple(SourceSizes(name, *(of.get(size) for size in _SIZES)) for name, of in sorted(sizes.items()))


def parse_metrics(text: str) -> Counters:
    """Counters out of the text of ``/metrics``; 0 where a program of another release shows none."""
    values: dict[str, float] = {}
    buckets = []
    for line in text.splitlines():
        found = re.match(r"ipcq_redis_(\w+)\{(.*)\} (\S+)$", line)
        if found is None:
            continue
        name, labels, value = found[1], found[2], float(found[3])
        bound = re.search(r'le="([^"]*)"$', labels)
        if name == "task_seconds_bucket" and bound is not None:
            buckets.append((float(bound[1]), int(value)))
        else:
            values[name] = value
    counts: dict[str, Any] = {name: int(values.get(metric, 0)) for name, metric in _COUNTER_NAMES.items()}
    return Counters(
        **counts,
        connected=bool(values.get("connected")),
        attached=bool(values.get("attached")),
        servers=int(values["servers"]) if "servers" in values else None,
        sources=_sources_of(text),
        total_seconds=values.get("task_seconds_sum", 0.0),
        buckets=tuple(buckets),
    )


def fetch_metrics(url: str) -> str:
    """The text of ``/metrics``. Asks the program itself, whatever proxies the environment names.

    Raises:
        OSError, http.client.HTTPException: It does not answer, or not within five seconds.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=_PATIENCE)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().read().decode(errors="replace")
    finally:
        connection.close()


def parse_summary(text: str) -> Summary | None:
    """The program's object, or None where it has not said one."""
    try:
        said = json.loads(text)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    return Summary(**{field.name: said.get(field.name, 0) for field in fields(Summary)})

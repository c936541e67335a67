"""Statistics of a broker. docs: ipcq/stats.hpp says what each counter counts, and a test holds the two together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GroupStats:
    """One consumer group of a queue. Messages are counted since the group joined."""

    name: str
    durable: bool
    lossy: bool
    paused: bool
    members: int
    joined_at: int
    published: int
    waiting: int
    held: int
    delivered: int
    filtered: int
    dropped: int
    expired: int
    dead_lettered: int
    lost: int
    redelivered: int
    records: int


@dataclass(frozen=True)
class EndpointStats:
    """One producer, consumer, client or server that is open."""

    id: int
    pid: int
    uid: int
    role: str
    group: str
    state: str
    messages: int
    records: int
    bytes: int
    held: int


@dataclass(frozen=True)
class QueueStats:
    """One queue, with its groups and endpoints."""

    name: str
    pool: str
    handler: str
    backend: str
    executor: str
    parked: bool
    backpressure: str
    state: str
    paused: bool
    slots: int
    slot_bytes: int
    lines: int
    line_bytes: int
    inline_bytes: int
    batch: str
    schema: str
    result_schema: str
    metadata_bytes: int
    published: int
    records: int
    tombstones: int
    processed: int
    handler_errors: int
    publish_rate: float
    empty: int
    claimed: int
    ready: int
    inflight: int
    done: int
    reading: int
    quarantined: int
    producers_lost: int
    blocked_by_pid: int
    blocked_by_group: str
    calls: int
    on_server_death: str
    calls_open: int
    calls_answered: int
    calls_cancelled: int
    groups: list[GroupStats]
    endpoints: list[EndpointStats]


@dataclass(frozen=True)
class BrokerStats:
    """A broker and its queues."""

    name: str
    version: str
    pid: int
    uptime_ns: int
    shm_bytes: int
    abi: int
    clients: int
    deaths: int
    runner_deaths: int
    queues: list[QueueStats]

"""Statistics of a broker, as ``ipcq/stats.hpp`` has them; a test holds the fields of the two together.

``records`` counts payloads where its neighbours count messages. The two are the same but in a queue with
``batch="records"``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GroupStats:
    """One consumer group of a queue. Messages are counted since the group joined.

    Once nothing waits and nothing is held, published = delivered + filtered + dropped + expired + dead_lettered + lost.

    Attributes:
        name: Of the group.
        durable: It was declared when the queue was created; else it is ephemeral.
        lossy: Its oldest messages are skipped where it lags, and no producer waits for it.
        paused: By itself; ``QueueStats.paused`` pauses all groups.
        members: Consumers that are open now.
        joined_at: First ticket of the group.
        published: Messages for this group.
        waiting: Messages that were published and not yet taken.
        held: Messages that were taken and not yet released, those that were given back included.
        delivered: Messages that were released.
        filtered: Messages that the queue's handler dropped.
        dropped: Messages that were skipped, by ``drop-oldest`` or for a lossy group.
        expired: 0 in this version.
        dead_lettered: 0 in this version.
        lost: Messages with invalid content, or for which the repair after a death had no room.
        redelivered: Repeated deliveries; not a term of the sum.
        records: Payloads that members received for the first time; not a term of the sum.
    """

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
    """One producer, consumer, client or server that is open.

    Attributes:
        id: Of a producer: ``Message.producer``.
        pid: Its process, as the broker sees it.
        uid: Its user.
        role: ``producer``, ``consumer``, ``client`` or ``server``.
        group: Of a consumer.
        state: ``running``, ``stopped`` (SIGSTOP or a debugger), ``suspect`` (connection lost, process alive).
        messages: Published (of a client: requests), or received for the first time.
        records: Payloads of these.
        bytes: Of payload, published or received.
        held: Loans of a producer, messages of a consumer.
    """

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
    """One queue, with its groups and endpoints.

    Attributes:
        name: Of the queue.
        pool: Where its slots come from; a pool of its own has the queue's name.
        handler: Empty: none, messages go as they are.
        backend: ``host`` or ``cuda``.
        executor: ``none`` (no handler), ``host``, ``persistent`` or ``stream``.
        parked: It is persistent, and no kernel runs, since there is nothing to process yet.
        backpressure: ``block``, ``reject`` or ``drop-oldest``.
        state: ``open``, ``draining`` (it takes nothing more) or ``closed``.
        paused: Neither its handler nor its groups take messages.
        slots: Of its pool.
        slot_bytes: Payload capacity of a slot; 0 without slots.
        lines: Messages that may wait.
        line_bytes: Of a line.
        inline_bytes: A payload of up to so many bytes travels in its line, without a slot.
        batch: ``messages`` or ``records``.
        schema: Type of its messages as text; empty: any bytes.
        result_schema: Type of what its handler makes of them, or of replies; likewise.
        metadata_bytes: Most that a message may have beside its payload.
        published: Messages, without tombstones.
        records: Payloads of these.
        tombstones: Places in its order without a message: their producer died, or the executor was switched.
        processed: Messages that went through the handler, ``handler_errors`` included.
        handler_errors: Messages that the handler refused (``Message.processed`` is false).
        publish_rate: Messages published per second: in the last second, or an average where the lines do not reach
            back that far or messages carry no time.
        empty: Slots of its pool that are free. All queues that share the pool count them.
        claimed: Slots of its pool that are on loan; likewise.
        ready: Messages that wait for the handler.
        inflight: Messages that the handler works on.
        done: Messages that not every group has taken yet.
        reading: Messages that are held, of all groups.
        quarantined: Slots out of use, because GPU work of a dead client may still write them.
        producers_lost: Died or broke off, and not replaced by another: the stream does not end.
        blocked_by_pid: Process that claimed the oldest place not published, and holds up later ones; 0: none.
        blocked_by_group: Group without a member that must get every message and holds the queue full; empty: none.
        calls: Calls that one client may have under way; 0: it takes none.
        on_server_death: ``fail`` or ``redeliver``; empty without servers.
        calls_open: Calls that are not answered.
        calls_answered: Calls whose reply is not done with.
        calls_cancelled: Calls for which nobody waited any more when they were taken or answered.
        groups: Of the queue.
        endpoints: That are open.
    """

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
    """A broker and its queues.

    Attributes:
        name: What clients connect to.
        version: Of libipcq in the broker.
        pid: Of the broker.
        uptime_ns: Nanoseconds since it began.
        shm_bytes: Of /dev/shm, of all queues and pools.
        abi: Of the shared memory layout.
        clients: Sessions.
        deaths: Client processes that ended without detaching.
        runner_deaths: Runners that were lost.
        queues: All of them.
    """

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

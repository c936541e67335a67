"""What asking an actor costs, for each tier, beside a bare call of a client to a server.

    python actors.py [--count N]

Each round trip has 64 bytes and the handler returns them. Timed in the caller, from before `ask()` to after it has the
reply, one at a time: median and 99th percentile. Then the rate of one caller: alone in a row, with many under way from
an event loop (`ask_async`), and of messages that are told (until the actor has done them all). The bare calls go to
`Server.serve()` in a thread of this process and in a process of its own, as the actors' workers are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import ipcq

PAYLOAD = bytes(64)
BROKER = os.environ.setdefault("IPCQ_BROKER", f"bench-actors-{os.getpid()}")
UNDER_WAY = 64


@ipcq.actor(queue_size=256, message_bytes=4096)
def echo(message: bytes) -> bytes:
    """Answers by the message."""
    return message


@ipcq.actor(queue_size=256, message_bytes=4096, concurrency=UNDER_WAY)
async def echo_async(message: bytes) -> bytes:
    """The same as a coroutine."""
    return message


def serve() -> None:
    """A bare server, until its queue has gone."""
    with ipcq.connect(wait_for=10) as session, session.server("bare", wait_for=10) as server:
        server.serve(bytes)


def latencies(ask: Callable[[], object], count: int) -> tuple[float, float, float]:
    """Median and 99th percentile of a round trip in us, and round trips a second."""
    for _ in range(count // 10 + 10):
        ask()
    times = []
    begun = time.perf_counter()
    for _ in range(count):
        before = time.perf_counter_ns()
        ask()
        times.append(time.perf_counter_ns() - before)
    took = time.perf_counter() - begun
    times.sort()
    return statistics.median(times) / 1e3, times[int(count * 0.99)] / 1e3, count / took


def rate_in_loop(ask: Callable[[], object], count: int) -> float:
    """Round trips a second with ``UNDER_WAY`` of them at once."""

    async def some(each: int) -> None:
        for _ in range(each):
            await ask()  # type: ignore[misc]

    async def main() -> float:
        begun = time.perf_counter()
        await asyncio.gather(*[some(count // UNDER_WAY) for _ in range(UNDER_WAY)])
        return count // UNDER_WAY * UNDER_WAY / (time.perf_counter() - begun)

    return asyncio.run(main())


def rate_told(ref: ipcq.ActorRef, count: int) -> float:
    """Messages a second that are told and done."""
    begun = time.perf_counter()
    for _ in range(count):
        ref.tell(PAYLOAD)
    ref.flush()
    return count / (time.perf_counter() - begun)


@contextlib.contextmanager
def bare(broker: ipcq.Broker, in_process: bool) -> Iterator[ipcq.Client]:
    """A client of a bare server."""
    broker.create("bare", slots=600, slot_bytes=4096, calls=320, line=256)
    server: threading.Thread | multiprocessing.process.BaseProcess
    if in_process:
        server = multiprocessing.get_context("spawn").Process(target=serve, daemon=True)
    else:
        server = threading.Thread(target=serve, daemon=True)
    server.start()
    with ipcq.connect() as session, session.client("bare", reply_bytes=4096) as client:
        client.call(PAYLOAD).result()  # it is there
        yield client
    broker.remove("bare", at_once=True)
    server.join(10)


def line(what: str, round_trip: tuple[float, float, float], in_loop: float, told: float | None) -> None:
    """A row of the table."""
    median, late, rate = round_trip
    last = "" if told is None else f"{told / 1e3:.1f}"
    print(f"| {what} | {median:.1f} | {late:.1f} | {rate / 1e3:.1f} | {in_loop / 1e3:.1f} | {last} |", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    count = parser.parse_args().count
    print("| 64 bytes | p50, us | p99, us | in a row, k/s | 64 under way, k/s | told, k/s |\n|---|---|---|---|---|---|")
    with ipcq.Broker() as broker, ipcq.ActorRuntime(broker) as runtime:
        for in_process in (False, True):
            with bare(broker, in_process) as client:
                round_trip = latencies(lambda client=client: client.call(PAYLOAD).result(), count)  # type: ignore[misc]
                in_loop = rate_in_loop(lambda client=client: client.call_async(PAYLOAD), count)  # type: ignore[misc]
            line(f"bare call, server in a {'process' if in_process else 'thread'}", round_trip, in_loop, None)
        for actor, tier in ((echo, "thread"), (echo, "process"), (echo_async, "async"), (echo_async, "process")):
            ref = runtime.launch(actor, tier=tier)
            round_trip = latencies(lambda ref=ref: ref.ask(PAYLOAD), count)  # type: ignore[misc]
            in_loop = rate_in_loop(lambda ref=ref: ref.ask_async(PAYLOAD), count)  # type: ignore[misc]
            told = rate_told(ref, count)
            line(f"actor, {'coroutine, ' if actor is echo_async else ''}tier {tier}", round_trip, in_loop, told)
            runtime.terminate(ref.name)


if __name__ == "__main__":
    main()

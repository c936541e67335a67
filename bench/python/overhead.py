"""What a call costs in Python: each timed many times in a row, in one process, and the loop's own time taken off.

    python overhead.py [--rounds N]

Prints a Markdown table: the median and the best of the rounds, in microseconds a message. Pin it to a core (taskset),
and let nothing else run.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

import ipcq

CALLS = 20_000


def per_call(function: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and best time of a call, in microseconds."""

    def loop(called: Callable[[], object]) -> float:
        begun = time.perf_counter()
        for _ in range(CALLS):
            called()
        return time.perf_counter() - begun

    loop(function)
    empty = min(loop(lambda: None) for _ in range(3))
    times = sorted((loop(function) - empty) / CALLS * 1e6 for _ in range(rounds))
    return statistics.median(times), times[0]


def batches(session: ipcq.Session, rounds: int) -> dict[str, tuple[float, float]]:
    """Of small messages: what each call takes of them, alone and in batches."""
    small = bytes(64)
    many = [small] * 256
    with session.producer("small") as p, session.consumer("small") as c:

        def round_trip(receive: Callable[[], object]) -> Callable[[], None]:
            def both() -> None:
                p.send(small)
                receive()

            return both

        def batch() -> None:
            p.send_many(many)
            c.receive_records(256)

        results = {
            "send and receive_bytes": per_call(round_trip(c.receive_bytes), rounds),
            "send, receive and release": per_call(round_trip(lambda: c.receive().release()), rounds),
            "send, try_receive and release": per_call(round_trip(lambda: c.try_receive().release()), rounds),  # type: ignore[union-attr]
        }
        results["send_many and receive_records, 256 at once, each"] = timed_batches(batch, rounds)
    with session.producer("many") as p, session.consumer("many") as c:
        # The ring has room for all of them, so that each call is timed by itself.
        sends, receives = [], []
        for _ in range(rounds):
            begun = time.perf_counter()
            for _ in range(CALLS):
                p.send(small)
            between = time.perf_counter()
            for _ in range(CALLS):
                c.receive_bytes()
            ended = time.perf_counter()
            sends.append((between - begun) / CALLS * 1e6)
            receives.append((ended - between) / CALLS * 1e6)
        results["send, by itself"] = (statistics.median(sends), min(sends))
        results["receive_bytes, by itself"] = (statistics.median(receives), min(receives))
    return results


def timed_batches(batch: Callable[[], None], rounds: int) -> tuple[float, float]:
    """The same of 256 messages a call."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(CALLS // 256):
            batch()
        times.append((time.perf_counter() - begun) / (CALLS // 256) / 256 * 1e6)
    return statistics.median(times), min(times)


def slots(session: ipcq.Session, rounds: int) -> dict[str, tuple[float, float]]:
    """Of slots, written and read in place."""
    with session.producer("slots") as p, session.consumer("slots") as c:

        def views() -> None:
            with p.loan() as slot:
                view = memoryview(slot)
                view[0] = 1
                view.release()
                slot.publish(4096)
            with c.receive() as message:
                view = memoryview(message)
                view[0]
                view.release()

        return {"loan, view, publish, receive, view, release": per_call(views, rounds)}


async def loops(session: ipcq.Session, rounds: int) -> dict[str, tuple[float, float]]:
    """Of asyncio, where a message is there already, and where the loop has to wait for its descriptor."""
    results = {}
    with session.producer("small") as p, session.consumer("small") as c:
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            for _ in range(2000):
                p.send(b"x")
                (await c.receive_async()).release()
            times.append((time.perf_counter() - begun) / 2000 * 1e6)
        results["send, await receive_async (is there)"] = (statistics.median(times), min(times))
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            for _ in range(500):
                waiting = asyncio.ensure_future(c.receive_async())
                await asyncio.sleep(0)
                p.send(b"x")
                (await waiting).release()
            times.append((time.perf_counter() - begun) / 500 * 1e6)
        results["await receive_async (waits), send"] = (statistics.median(times), min(times))
    return results


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with ipcq.Broker("overhead") as broker, ipcq.connect("overhead") as session:
        broker.create("small", slots=0, lines=1024)
        broker.create("many", slots=0, lines=32768)
        broker.create("slots", slots=16, slot_bytes=4096)
        results = {**batches(session, rounds), **slots(session, rounds), **asyncio.run(loops(session, rounds))}
    print("| 64 bytes unless said otherwise | median | best |\n|---|---|---|")
    for name, (median, best) in results.items():
        print(f"| {name} | {median:.3f} us | {best:.3f} us |")


if __name__ == "__main__":
    main()

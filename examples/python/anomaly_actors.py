"""Anomaly detection over streams of points, in batches, by one actor a stream.

    python anomaly_actors.py [--points N] [--batch N] [--streams N] [--tier thread|process|async]

A point stands out if it is more than four standard deviations away from the mean of the 256 points before it in its
stream. An actor keeps these 256 from batch to batch; its batches come in order, with several on the way. Ends with code
0 only if each point has the verdict that NumPy finds by itself, from windows instead of running sums.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time

import ipcq
import numpy as np
import numpy.typing as npt

WINDOW, LIMIT = 256, 4
IN_FLIGHT = 16
Points = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@ipcq.actor(input=np.ndarray, output=np.ndarray, queue_size=IN_FLIGHT)
class Detector:
    """One stream."""

    def __init__(self) -> None:
        self.past = np.zeros(WINDOW, np.int64)
        self.seen = 0

    def on_message(self, points: Points) -> Flags:
        """Which points of a batch stand out."""
        both = np.concatenate([self.past, points])
        sums = np.concatenate([[0], np.cumsum(both)])
        squares = np.concatenate([[0], np.cumsum(both * both)])
        total = (sums[WINDOW:] - sums[:-WINDOW])[:-1]
        total_squares = (squares[WINDOW:] - squares[:-WINDOW])[:-1]
        away = WINDOW * points - total
        found: Flags = away * away > LIMIT**2 * (WINDOW * total_squares - total * total)
        found[: max(0, WINDOW - self.seen)] = False
        self.past = both[-WINDOW:]
        self.seen += len(points)
        return found


def make_points(count: int, seed: int) -> Points:
    """Noise around a slow wave, and a spike in about a thousand points."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 50, count) + 500 * np.sin(np.arange(count) / 5000)
    spikes = rng.random(count) < 0.001
    points[spikes] += 600
    whole: Points = points.astype(np.int64)
    return whole


def check(points: Points) -> Flags:
    """The same by NumPy alone: mean and variance of each window."""
    flags = np.zeros(len(points), np.bool_)
    for at in range(WINDOW, len(points), 50_000):
        until = min(at + 50_000, len(points))
        windows = np.lib.stride_tricks.sliding_window_view(points[at - WINDOW : until - 1], WINDOW)
        total = windows.sum(axis=1)
        variance = WINDOW * np.square(windows).sum(axis=1) - total * total
        away = WINDOW * points[at:until] - total
        flags[at:until] = away * away > LIMIT**2 * variance
    return flags


async def detect(ref: ipcq.ActorRef, points: Points, batch: int) -> Flags:
    """Sends a stream's batches in order, ``IN_FLIGHT`` at once, and puts the verdicts together."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def ask(part: Points) -> Flags:
        async with room:
            found: Flags = await ref.ask_async(part, timeout=60)
            return found

    return np.concatenate(await asyncio.gather(*[ask(points[at : at + batch]) for at in range(0, len(points), batch)]))


async def detect_all(refs: list[ipcq.ActorRef], streams: list[Points], batch: int) -> list[Flags]:
    """All streams at once."""
    return list(await asyncio.gather(*[detect(ref, points, batch) for ref, points in zip(refs, streams, strict=True)]))


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--tier", choices=("thread", "process", "async"), default="process")
    options = parser.parse_args()
    each = options.points // options.streams
    streams = [make_points(each, seed) for seed in range(options.streams)]
    with ipcq.ActorRuntime(ipcq.Broker(f"anomalies-{os.getpid()}")) as runtime:
        room = 8 * options.batch + 4096
        refs = [
            runtime.launch(Detector, f"stream-{k}", tier=options.tier, message_bytes=room)
            for k in range(options.streams)
        ]
        begun = time.perf_counter()
        found = asyncio.run(detect_all(refs, streams, options.batch))
        took = time.perf_counter() - begun
        telemetry = runtime.telemetry()
    for points, flags in zip(streams, found, strict=True):
        if not np.array_equal(flags, check(points)):
            raise SystemExit("WRONG: NumPy finds other anomalies")
    batches = sum(one.received for one in telemetry.values())
    latencies = [one.latency.p50 for one in telemetry.values() if one.latency is not None]
    print(
        f"{each * options.streams} points in {batches} batches by {options.streams} actors ({options.tier}): "
        f"{sum(int(flags.sum()) for flags in found)} anomalies, every one is right; {took:.3f} s, "
        f"{each * options.streams / took / 1e6:.2f} M points/s, {batches / took:.0f} batches/s, "
        f"{1e6 * max(latencies):.0f} us a batch"
    )


if __name__ == "__main__":
    main()

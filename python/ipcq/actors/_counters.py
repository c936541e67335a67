"""Counters that workers write and the runtime reads, in memory that both have.

Each worker has a block of 64 words of its own. It alone writes it, one aligned word of 8 bytes at a time, so a worker
that is killed leaves whole words. Once it has ended, the runtime adds the block to its own totals and lets it go. What
a block has as received, and neither as completed nor as failed, was in work: of a worker that was killed it is lost.

A message is counted as received behind the call that takes it, and as completed or failed before its caller can see
that. A worker that is killed just between a call and its count leaves that one message out, or has it as completed
although its caller is told that the server has died.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ._telemetry import Latency

if TYPE_CHECKING:
    import mmap

    from ._workers import Worker

RECEIVED, COMPLETED, FAILED, CANCELLED, BUSY_NS, BUSY_SINCE, SUM_NS, MIN_NS, MAX_NS = range(9)
_HISTOGRAM, _BUCKETS = 16, 48  # bucket n: from 2^(n-1) to 2^n ns; the last one: all beyond
WORDS = 64
BLOCK_BYTES = WORDS * 8


class Block:
    """A worker's side. Calls of one block come from one thread."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._in_work = 0

    def took(self) -> int:
        """A message was taken. Returns when, in ns of ``time.monotonic_ns()``."""
        words, now = self._words, time.monotonic_ns()
        words[RECEIVED] += 1
        if not self._in_work:
            words[BUSY_SINCE] = now
        self._in_work += 1
        return now

    def ended(self, taken: int, outcome: int) -> bool:
        """Its answer is there, and goes next; ``outcome``: COMPLETED or FAILED. Returns True."""
        words, now = self._words, time.monotonic_ns()
        took = now - taken
        words[outcome] += 1
        words[SUM_NS] += took
        if took > words[MAX_NS]:
            words[MAX_NS] = took
        if took < words[MIN_NS] or not words[MIN_NS]:
            words[MIN_NS] = took or 1
        words[_HISTOGRAM + min(took.bit_length(), _BUCKETS - 1)] += 1
        self._in_work -= 1
        if not self._in_work:
            words[BUSY_NS] += now - words[BUSY_SINCE]
            words[BUSY_SINCE] = 0
        return True

    def failed(self, taken: int, counted: bool) -> None:
        """It has failed; ``counted``: as completed already, before its answer could not be sent."""
        if counted:
            self._words[COMPLETED] -= 1
            self._words[FAILED] += 1
        else:
            self.ended(taken, FAILED)

    def cancelled(self) -> None:
        """Nobody waited for the answer any more."""
        self._words[CANCELLED] += 1


def words_of(memory: bytearray | mmap.mmap) -> memoryview:
    """A block of ``BLOCK_BYTES``, as words."""
    return memoryview(memory).cast("Q")


class Counters:
    """The runtime's side: blocks of an actor's workers, and the totals of workers that have ended. Not thread-safe."""

    def __init__(self) -> None:
        self._blocks: dict[Worker, memoryview] = {}
        self._ended = [0] * WORDS
        self.lost = 0

    def add(self, worker: Worker) -> None:
        """One that is about to start."""
        self._blocks[worker] = worker.words

    def fold(self, worker: Worker) -> None:
        """It has ended: its block becomes part of the totals, once."""
        block = self._blocks.pop(worker, None)
        if block is None:
            return
        seen = list(block)
        self.lost += seen[RECEIVED] - seen[COMPLETED] - seen[FAILED]
        _add(self._ended, seen)

    def totals(self) -> list[int]:
        """All blocks together; BUSY_NS up to now."""
        sums = list(self._ended)
        now = time.monotonic_ns()
        for block in self._blocks.values():
            # Outcomes first: a message that ends meanwhile is seen in work, and never as more than was received.
            outcomes = list(block)
            seen = list(block)
            seen[COMPLETED], seen[FAILED] = outcomes[COMPLETED], outcomes[FAILED]
            if seen[BUSY_SINCE]:
                seen[BUSY_NS] += max(0, now - seen[BUSY_SINCE])
            _add(sums, seen)
        return sums


def _add(sums: list[int], block: list[int]) -> None:
    for i, word in enumerate(block):
        if i == MIN_NS:
            sums[i] = min(sums[i], word) if sums[i] and word else sums[i] or word
        elif i == MAX_NS:
            sums[i] = max(sums[i], word)
        elif i != BUSY_SINCE:
            sums[i] += word


def latency_of(totals: list[int]) -> Latency | None:
    """Mean, extremes and percentiles; None: no message has ended."""
    buckets = totals[_HISTOGRAM : _HISTOGRAM + _BUCKETS]
    count = sum(buckets)
    if not count:
        return None
    low, high = totals[MIN_NS], totals[MAX_NS]

    def percentile(share: float) -> float:
        rank, before = share * count, 0
        for n, inside in enumerate(buckets):
            if inside and before + inside >= rank:
                first = (1 << n) // 2
                at = first + (rank - before) / inside * max(first, 1)
                return min(max(at, low), high) / 1e9
            before += inside
        return high / 1e9

    mean = totals[SUM_NS] / count / 1e9
    return Latency(count, mean, low / 1e9, high / 1e9, percentile(0.5), percentile(0.9), percentile(0.99))

"""PageRank of a random graph, by power iteration over actors that have a part of the nodes each.

    python page_rank_actors.py [--nodes N] [--edges N] [--parts N] [--tier thread|process|async]

Each actor has the edges that lead to its nodes. In every step it gets what each node gives to its neighbours, an array
that is read where it was written, and answers by the new ranks of its nodes. Damping 0.85; ends when the ranks change
by less than 1e-6 in sum, after 100 steps at most. Ends with code 0 only if each rank is what NumPy finds by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

import ipcq
import numpy as np
import numpy.typing as npt

DAMPING, TOLERANCE, MOST_STEPS = 0.85, 1e-6, 100
Ranks = npt.NDArray[np.float64]
Edges = npt.NDArray[np.int64]


@ipcq.actor(input=np.ndarray, output=np.ndarray, queue_size=4, in_place=True)
class Part:
    """The nodes from ``first`` to ``last``, without it."""

    def __init__(self, graph: str, nodes: int, first: int, last: int) -> None:
        sources, targets = np.load(graph, mmap_mode="r")
        mine = (targets >= first) & (targets < last)
        order = np.argsort(targets[mine], kind="stable")
        self.sources = np.asarray(sources[mine])[order]
        counts = np.bincount(np.asarray(targets[mine]) - first, minlength=last - first)
        self.has_edges = np.flatnonzero(counts)
        self.begins = (np.cumsum(counts) - counts)[self.has_edges]
        self.nodes, self.count = nodes, last - first

    def on_message(self, given: Ranks) -> Ranks:
        """New ranks of its nodes. ``given``: what each node gives along an edge; last, what those without edges do."""
        ranks = np.full(self.count, (1 - DAMPING) / self.nodes + DAMPING * given[-1])
        if len(self.sources):
            ranks[self.has_edges] += DAMPING * np.add.reduceat(given[self.sources], self.begins)
        return ranks


def make_graph(nodes: int, edges: int) -> Edges:
    """Sources and targets of random edges, some nodes being more popular than others."""
    rng = np.random.default_rng(7)
    return np.stack([rng.integers(0, nodes, edges), (nodes * rng.random(edges) ** 3).astype(np.int64)])


def check(graph: Edges, nodes: int) -> tuple[Ranks, int]:
    """The same by NumPy alone, from the edges as they are."""
    sources, targets = graph
    degrees = np.bincount(sources, minlength=nodes)
    ranks, change, steps = np.full(nodes, 1 / nodes), 1.0, 0
    while change >= TOLERANCE and steps < MOST_STEPS:
        steps += 1
        gathered = np.bincount(targets, weights=ranks[sources] / degrees[sources], minlength=nodes)
        lost = ranks[degrees == 0].sum()
        after = (1 - DAMPING) / nodes + DAMPING * (gathered + lost / nodes)
        ranks, change = after, float(np.abs(after - ranks).sum())
    return ranks, steps


async def power_iteration(parts: list[ipcq.ActorRef], graph: Edges, nodes: int) -> tuple[Ranks, int]:
    """Ranks, and the number of steps."""
    degrees = np.bincount(graph[0], minlength=nodes)
    ends = np.flatnonzero(degrees == 0)
    divisors = np.maximum(degrees, 1)
    ranks, change, steps = np.full(nodes, 1 / nodes), 1.0, 0
    given = np.empty(nodes + 1)
    while change >= TOLERANCE and steps < MOST_STEPS:
        steps += 1
        np.divide(ranks, divisors, out=given[:-1])
        given[-1] = ranks[ends].sum() / nodes
        after = np.concatenate(await asyncio.gather(*[part.ask_async(given, timeout=60) for part in parts]))
        ranks, change = after, float(np.abs(after - ranks).sum())
    return ranks, steps


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=50_000)
    parser.add_argument("--edges", type=int, default=250_000)
    parser.add_argument("--parts", type=int, default=2)
    parser.add_argument("--tier", choices=("thread", "process", "async"), default="process")
    options = parser.parse_args()
    graph = make_graph(options.nodes, options.edges)
    bounds = np.linspace(0, options.nodes, options.parts + 1).astype(int).tolist()
    with (
        tempfile.TemporaryDirectory() as folder,
        ipcq.ActorRuntime(ipcq.Broker(f"page-rank-{os.getpid()}")) as runtime,
    ):
        file = str(Path(folder) / "graph.npy")
        np.save(file, graph)
        parts = [
            runtime.launch(
                Part,
                f"part-{k}",
                args=(file, options.nodes, bounds[k], bounds[k + 1]),
                tier=options.tier,
                concurrency=1,
                message_bytes=8 * options.nodes + 4096,
                slots=8,
            )
            for k in range(options.parts)
        ]
        begun = time.perf_counter()
        ranks, steps = asyncio.run(power_iteration(parts, graph, options.nodes))
        took = time.perf_counter() - begun
    begun = time.perf_counter()
    expected, expected_steps = check(graph, options.nodes)
    alone = time.perf_counter() - begun
    largest = float(np.abs(ranks - expected).max())
    if largest > 1e-12 or abs(float(ranks.sum()) - 1) > 1e-9 or steps != expected_steps:
        raise SystemExit(f"WRONG: {steps} steps, largest difference {largest:g}, sum {ranks.sum():.12f}")
    print(
        f"{options.nodes} nodes, {options.edges} edges, {options.parts} actors ({options.tier}): {steps} steps, every "
        f"rank is right (largest difference {largest:.1g}); {took:.3f} s, {options.edges / took / 1e6:.2f} M edges/s, "
        f"{options.edges * steps / took / 1e6:.1f} M edge visits/s; NumPy alone {alone:.3f} s"
    )


if __name__ == "__main__":
    main()

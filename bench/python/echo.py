"""Round trips of 64 bytes between two Python processes, beside what Python programs use for it.

    python echo.py [--count N]

Each peer: the second process sends back what it gets. Timed in the first, from before the send to after the receive,
one round trip at a time; "delivered" means that the bytes are a Python object. What spins is marked: it burns both
cores. Peers that are not installed are left out, and said to be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import ipcq
from ipcq._options import Wait

PAYLOAD = bytes(64)
BROKER = os.environ.setdefault("IPCQ_BROKER", f"echo-{os.getpid()}")  # which the other processes inherit


@contextlib.contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """A process of its own, started anew, that ends by itself."""
    child = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    child.start()
    try:
        yield
    finally:
        child.join(10)
        if child.is_alive():
            child.kill()


def measure(round_trip: Callable[[], object], count: int) -> list[float]:
    """Times of single round trips, in microseconds, sorted."""
    for _ in range(count // 10 + 10):
        round_trip()
    times = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        round_trip()
        times.append((time.perf_counter_ns() - begun) / 1000)
    return sorted(times)


def ipcq_echo(wait: Wait) -> None:
    with ipcq.connect(BROKER, wait_for=10) as session:
        c, p = session.consumer("there", wait=wait, wait_for=10), session.producer("back", wait=wait, wait_for=10)
        while True:
            try:
                p.send(c.receive_bytes())
            except ipcq.EndOfStream:
                return


def with_ipcq(wait: Wait, count: int) -> list[float]:
    with ipcq.Broker(BROKER) as broker:
        broker.create("there", slots=0)
        broker.create("back", slots=0)
        with process(ipcq_echo, wait), ipcq.connect(BROKER) as session:
            with session.producer("there", wait=wait) as p, session.consumer("back", wait=wait) as c:

                def round_trip() -> None:
                    p.send(PAYLOAD)
                    c.receive_bytes()

                return measure(round_trip, count)


def ipcq_serve(wait: Wait) -> None:
    with ipcq.connect(BROKER, wait_for=10) as session, session.server("ask", wait=wait, wait_for=10) as server:
        while True:
            request = server.receive()
            data = bytes(request)
            if data == b"end":
                request.reply(b"")
                return
            request.reply(data)


def with_calls(wait: Wait, count: int) -> list[float]:
    with ipcq.Broker(BROKER) as broker:
        broker.create("ask", slots=0, calls=16)
        with process(ipcq_serve, wait), ipcq.connect(BROKER) as session, session.client("ask", wait=wait) as client:
            times = measure(lambda: client.call(PAYLOAD).result(), count)
            client.call(b"end").result()
            return times


def ipcq_echo_async(wait: Wait) -> None:
    async def main() -> None:
        with ipcq.connect(BROKER, wait_for=10) as session:
            c, p = session.consumer("there", wait=wait, wait_for=10), session.producer("back", wait_for=10)
            async for message in c:
                p.send(bytes(message))

    asyncio.run(main())


def with_asyncio(wait: Wait, count: int) -> list[float]:
    async def main(session: ipcq.Session) -> list[float]:
        with session.producer("there") as p, session.consumer("back", wait=wait) as c:
            times = []
            for k in range(count + 100):
                begun = time.perf_counter_ns()
                p.send(PAYLOAD)
                (await c.receive_async()).release()
                if k >= 100:
                    times.append((time.perf_counter_ns() - begun) / 1000)
            return sorted(times)

    with ipcq.Broker(BROKER) as broker:
        broker.create("there", slots=0)
        broker.create("back", slots=0)
        with process(ipcq_echo_async, wait), ipcq.connect(BROKER) as session:
            return asyncio.run(main(session))


def queue_echo(there: Any, back: Any) -> None:
    while (data := there.get()) is not None:
        back.put(data)


def with_queue(count: int) -> list[float]:
    context = multiprocessing.get_context("spawn")
    there, back = context.Queue(), context.Queue()
    with process(queue_echo, there, back):

        def round_trip() -> None:
            there.put(PAYLOAD)
            back.get()

        times = measure(round_trip, count)
        there.put(None)
        return times


def pipe_echo(pipe: Any) -> None:
    while data := pipe.recv_bytes():
        pipe.send_bytes(data)


def with_pipe(count: int) -> list[float]:
    near, far = multiprocessing.get_context("spawn").Pipe()
    with process(pipe_echo, far):

        def round_trip() -> None:
            near.send_bytes(PAYLOAD)
            near.recv_bytes()

        times = measure(round_trip, count)
        near.send_bytes(b"")
        return times


def zmq_echo(address: str) -> None:
    import zmq

    socket = zmq.Context().socket(zmq.PAIR)
    socket.connect(address)
    while data := socket.recv():
        socket.send(data)


def with_zmq(count: int) -> list[float]:
    import zmq

    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{folder}/echo"
        socket = zmq.Context().socket(zmq.PAIR)
        socket.bind(address)
        with process(zmq_echo, address):

            def round_trip() -> None:
                socket.send(PAYLOAD)
                socket.recv()

            times = measure(round_trip, count)
            socket.send(b"")
        socket.close()
        return times


def torch_echo(there: Any, back: Any) -> None:
    while (tensor := there.get()) is not None:
        back.put(tensor.clone())  # what came from another process cannot be sent on


def with_torch(count: int, device: str) -> list[float]:
    import torch
    import torch.multiprocessing

    context = torch.multiprocessing.get_context("spawn")
    there, back = context.Queue(), context.Queue()
    child = context.Process(target=torch_echo, args=(there, back), daemon=True)
    child.start()
    tensor = torch.zeros(64, dtype=torch.uint8, device=device)

    def round_trip() -> None:
        there.put(tensor)
        back.get()

    times = measure(round_trip, count)
    there.put(None)
    child.join(10)
    return times


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    count = parser.parse_args().count
    peers: dict[str, Callable[[], list[float]]] = {
        "ipcq, two queues, spin": lambda: with_ipcq("spin", count),
        "ipcq, two queues, sleep": lambda: with_ipcq("sleep", count // 4),
        "ipcq, a call, spin": lambda: with_calls("spin", count),
        "ipcq, two queues, asyncio": lambda: with_asyncio("hybrid", count // 4),
        "ipcq, two queues, asyncio, spin": lambda: with_asyncio("spin", count),
        "multiprocessing.Queue": lambda: with_queue(count // 4),
        "multiprocessing.Pipe": lambda: with_pipe(count // 4),
        "pyzmq, PAIR over ipc": lambda: with_zmq(count // 4),
        "torch.multiprocessing, tensor on the CPU": lambda: with_torch(count // 20, "cpu"),
        "torch.multiprocessing, tensor on the GPU": lambda: with_torch(count // 20, "cuda"),
    }
    print("| round trip of 64 bytes | p50 | p99 | mean |\n|---|---|---|---|")
    for name, peer in peers.items():
        try:
            times = peer()
        except (ImportError, RuntimeError, AssertionError) as error:
            print(f"| {name} | left out: {str(error).splitlines()[0]} | | |", flush=True)
            continue
        middle, last = times[len(times) // 2], times[len(times) * 99 // 100]
        print(f"| {name} | {middle:.2f} us | {last:.2f} us | {statistics.mean(times):.2f} us |", flush=True)


if __name__ == "__main__":
    main()

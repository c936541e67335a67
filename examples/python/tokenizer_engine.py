"""A tokenizer process in front of an engine process, with many requests in flight.

    python tokenizer_engine.py [--requests N] [--in-flight N]

Three processes: this one asks for completions of prompts; the tokenizer turns a prompt into tokens and asks the engine,
for up to 64 prompts at once, in one event loop; the engine works on what has come by then together. Ends with code 0
only if every completion is right.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from dataclasses import dataclass

import ipcq
from ipcq.fields import U32

BROKER = f"engine-{os.getpid()}"
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]


@dataclass
class Prompt:
    """What a caller asks."""

    text: str


@dataclass
class Completion:
    """What it gets."""

    text: str
    tokens: U32


@dataclass
class Tokens:
    """What tokenizer and engine say to each other."""

    ids: list[U32]


def successors(ids: list[int]) -> list[int]:
    """What the engine makes of tokens."""
    return [(token + 1) % len(WORDS) for token in ids]


def run_tokenizer(broker: str) -> None:
    """Serves the queue `prompts`."""

    async def main(session: ipcq.Session) -> None:
        engine = session.client("engine", type=Tokens, result_type=Tokens, reply_bytes=1024, wait_for=10)

        async def complete(prompt: Prompt) -> Completion:
            words = prompt.text.split()
            if unknown := set(words) - set(WORDS):
                raise ipcq.Failure(1, f"unknown words: {', '.join(sorted(unknown))}")
            ids = [WORDS.index(word) for word in words]
            answer = await engine.call_async(Tokens(ids), timeout=10)
            return Completion(" ".join(WORDS[token] for token in answer.ids), len(ids))

        server = session.server("prompts", type=Prompt, result_type=Completion, wait_for=10)
        await server.serve_async(complete, concurrency=64)

    with ipcq.connect(broker, wait_for=10) as session:
        asyncio.run(main(session))


def run_engine(broker: str) -> None:
    """Serves the queue `engine`, in batches of what is there."""
    with ipcq.connect(broker, wait_for=10) as session:
        server = session.server("engine", wait_for=10, schema=schema.text, result_schema=schema.text)
        for first in server:
            batch = [first]
            while len(batch) < 32 and (request := server.try_receive()) is not None:
                batch.append(request)
            time.sleep(0.0002)  # a step of the model, whatever the size of the batch
            for request in batch:
                request.reply(schema.encode(Tokens(successors(schema.decode(bytes(request)).ids))))


schema = ipcq.Schema(Tokens)


async def ask(session: ipcq.Session, requests: int, in_flight: int) -> int:
    """Asks for completions, `in_flight` at once, and returns how many were wrong."""
    client = session.client("prompts", type=Prompt, result_type=Completion, reply_bytes=1024)
    limit, wrong = asyncio.Semaphore(in_flight), 0

    async def one(k: int) -> None:
        nonlocal wrong
        async with limit:
            ids = [(k + i) % len(WORDS) for i in range(1 + k % 12)]
            reply = await client.call_async(Prompt(" ".join(WORDS[i] for i in ids)), timeout=20)
            wrong += reply != Completion(" ".join(WORDS[i] for i in successors(ids)), len(ids))

    await asyncio.gather(*[one(k) for k in range(requests)])
    try:
        await client.call_async(Prompt("an unknown word"), timeout=20)
        wrong += 1
    except ipcq.CallFailed:
        pass
    return wrong


def main() -> None:
    """Starts the processes, asks and checks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=100)
    options = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    with ipcq.Broker(BROKER) as broker, ipcq.connect(BROKER) as session:
        broker.create("prompts", slots=256, slot_bytes=1024, calls=128)
        broker.create("engine", slots=256, slot_bytes=1024, calls=128)
        children = [processes.Process(target=run, args=(BROKER,)) for run in (run_tokenizer, run_engine)]
        for child in children:
            child.start()
        begun = time.perf_counter()
        wrong = asyncio.run(ask(session, options.requests, options.in_flight))
        seconds = time.perf_counter() - begun
        for queue in ("prompts", "engine"):
            broker.remove(queue, at_once=True)  # its servers end
        for child in children:
            child.join(20)
            wrong += child.exitcode != 0
    rate = options.requests / seconds
    print(f"{options.requests} prompts in {seconds:.1f} s ({rate:.0f}/s), {wrong} wrong")
    raise SystemExit(wrong != 0)


if __name__ == "__main__":
    main()

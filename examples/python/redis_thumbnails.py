"""Thumbnails of images whose tasks wait in Redis, made by Python processes.

    redis-server --daemonize yes --save ''
    python redis_thumbnails.py [--images N] [--redis URL]

A task is an image in a stream of Redis or Valkey. A bridge brings it into a queue of calls, two processes serve the
queue, and the thumbnails go back to Redis, where this process reads them. One image is damaged: its task fails at each
attempt, goes to the dead letters with the reason, and is put back when the image has been replaced. Broker, bridge and
servers are started by one program here; in operation each is a service of its own. Ends with code 0 only if every
thumbnail is right. The keys in Redis have names of this process, and are deleted at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time

import ipcq
import ipcq.redis
import numpy as np
import numpy.typing as npt
import redis

NAME = f"thumbnails-{os.getpid()}"  # of the broker and of the stream
UPLOADED = f"{NAME}:uploaded"  # the key of an image that its task names
SCALE = 8
MOST_BYTES = 64 << 10
WRONG_IMAGE = 1  # code of a failure
Pixels = npt.NDArray[np.uint8]


def encode(pixels: Pixels) -> bytes:
    """An image as a file of the format PGM: gray, 8 bits a pixel."""
    height, width = pixels.shape
    return b"P5 %d %d 255\n" % (width, height) + pixels.tobytes()


def decode(image: bytes) -> Pixels:
    """Its pixels; a Failure says what is wrong with it."""
    head, _, pixels = image.partition(b"\n")
    words = head.split()
    if len(words) != 4 or words[0] != b"P5" or words[3] != b"255" or not (words[1] + words[2]).isdigit():
        raise ipcq.Failure(WRONG_IMAGE, "it is no PGM image")
    width, height = int(words[1]), int(words[2])
    if len(pixels) != width * height or width % SCALE != 0 or height % SCALE != 0:
        raise ipcq.Failure(WRONG_IMAGE, f"an image of {width} x {height} has {len(pixels)} bytes of pixels")
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


def make_thumbnail(request: ipcq.Request) -> bytes:
    """Answers a request: each pixel is the mean of SCALE x SCALE pixels of the image."""
    pixels = decode(bytes(request))
    height, width = pixels.shape
    blocks = pixels.reshape(height // SCALE, SCALE, width // SCALE, SCALE)
    return encode(blocks.mean(axis=(1, 3)).astype(np.uint8))


def run_server(broker: str) -> None:
    """Serves the queue until it is removed."""
    with ipcq.connect(broker, wait_for=10) as session:
        session.server("images", wait_for=10).serve(make_thumbnail)


def make_image(number: int) -> tuple[bytes, bytes]:
    """An image, and the thumbnail that it has: its blocks are of one gray each, under a pattern whose mean is 0."""
    rng = np.random.default_rng(number)
    small = rng.integers(1, 255, (4 + number % 5, 6 + number % 7), dtype=np.uint8)
    large = small.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    large[::2, ::2] += 1
    large[1::2, ::2] -= 1
    return encode(large), encode(small)


def await_results(client: redis.Redis, results: dict[str, bytes | None], count: int, since: str) -> str:
    """Reads results until there are `count`, or none has come for 20 s; returns where to go on."""
    for result in ipcq.redis.results(client, NAME, since=since, timeout=20):
        results[result.id] = result.result
        since = result.entry
        if len(results) == count:
            break
    return since


def await_dead_letter(client: redis.Redis) -> ipcq.redis.DeadLetter:
    """The first dead letter."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for letter in ipcq.redis.dead_letters(client, NAME):
            return letter
        time.sleep(0.02)
    raise SystemExit("WRONG: no dead letter has come")


def work(client: redis.Redis, images: int) -> int:
    """Adds tasks, reads their thumbnails, replaces the damaged image; returns how many results are wrong."""
    producer = ipcq.redis.Producer(client, NAME)
    wanted = {}
    for number in range(images):
        image, thumbnail = make_image(number)
        wanted[producer.add(image, fields={"file": f"{number}.pgm"})] = thumbnail
    image, thumbnail = make_image(images)
    client.set(UPLOADED, image[:1000])
    damaged = producer.add(None, fields={"payload-key": UPLOADED, "file": "damaged.pgm"})
    results: dict[str, bytes | None] = {}
    last = await_results(client, results, images, "0")
    letter = await_dead_letter(client)
    print(f"{letter.fields['file'].decode()}, after {letter.attempt} attempts: {letter.reason}")
    wrong = int(letter.origin != damaged)
    client.set(UPLOADED, image)
    wrong += ipcq.redis.requeue(client, NAME, [damaged]) != 1
    wanted[damaged] = thumbnail  # it has kept its id
    await_results(client, results, images + 1, last)
    wrong += sum(results.get(id) != thumbnail for id, thumbnail in wanted.items())
    return wrong + sum(1 for _ in ipcq.redis.dead_letters(client, NAME))


def main() -> None:
    """Starts broker, servers and bridge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    options = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    with redis.Redis.from_url(options.redis) as client, ipcq.Broker(NAME) as broker:
        try:
            client.ping()
        except redis.ConnectionError as error:
            raise SystemExit(f"{error} Start a server, or name one: --redis URL") from None
        broker.create("images", slots=64, slot_bytes=MOST_BYTES, calls=64)
        servers = [processes.Process(target=run_server, args=(NAME,), daemon=True) for _ in range(2)]
        for server in servers:
            server.start()
        begun = time.perf_counter()
        try:
            with ipcq.redis.Bridge(
                "images", streams=[NAME], redis=options.redis, broker=NAME, attempts=3, backoff=0.05, poll=0.05
            ) as bridge:
                wrong = work(client, options.images)
        finally:
            client.delete(NAME, f"{NAME}:results", f"{NAME}:dead", f"{NAME}:delayed", UPLOADED)
        seconds = time.perf_counter() - begun
        broker.remove("images", at_once=True)  # its servers end
        for server in servers:
            server.join(20)
            wrong += server.exitcode != 0
    did = bridge.summary()
    print(
        f"{did.done} thumbnails by {len(servers)} servers in {seconds:.1f} s, {did.dead} dead letter put back, "
        f"{did.retried} attempts repeated: {wrong} wrong"
    )
    raise SystemExit(wrong != 0)


if __name__ == "__main__":
    main()

"""Camera frames through a model to an encoder: four processes, one of which is killed again and again.

    python camera.py [--frames N] [--kills N]

The camera writes frames in slots; models, two processes that share the work, read them there and send what they have
found through a second queue to the encoder. This process, which is the encoder, kills models at random while frames
flow, and starts others. What a model held goes to the other one; nothing is lost, and what was done twice is told by
its number.
Ends with code 0 only if every frame has come with the right result. With PyTorch installed the model runs in it.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import time
from dataclasses import dataclass
from typing import Any

import ipcq
import numpy as np
from ipcq.fields import U32, U64

BROKER = f"camera-{os.getpid()}"
HEIGHT, WIDTH = 96, 128


@dataclass
class Found:
    """What the model has found in a frame."""

    number: U64
    brightest: U32
    rows: list[float]


def frame_of(number: int, out: np.ndarray[Any, Any]) -> None:
    """Makes a frame: a gradient with one bright pixel."""
    out[:] = np.arange(WIDTH, dtype=np.uint8) // 2
    out[number % HEIGHT, number * 7 % WIDTH] = 255


def look(frame: np.ndarray[Any, Any]) -> tuple[int, list[float]]:
    """The model: where the brightest pixel is, and the mean of each tenth row."""
    try:
        import torch

        tensor = torch.from_numpy(frame.copy()).float()
        return int(tensor.argmax()), [float(row.mean()) for row in tensor[::10]]
    except ImportError:
        return int(frame.argmax()), [float(row.mean()) for row in frame[::10]]


def run_camera(broker: str, frames: int) -> None:
    """Produces frames, numbered by their metadata."""
    with ipcq.connect(broker, wait_for=10) as session, session.producer("frames", wait_for=10) as camera:
        for number in range(frames):
            with camera.loan(shape=(HEIGHT, WIDTH), dtype="uint8") as slot:
                frame_of(number, np.asarray(slot))
                slot.publish()


def run_model(broker: str) -> None:
    """Takes frames until they end. It may be killed at any instant."""
    with contextlib.suppress(ipcq.NotFoundError), ipcq.connect(broker, wait_for=10) as session:
        frames = session.consumer("frames")  # not found: all is over already
        with session.producer("found", type=Found) as found:
            for message in frames:
                brightest, rows = look(np.asarray(message))
                found.send(Found(message.sequence, brightest, rows))  # the frame is released after this


def check(value: Found) -> bool:
    """Whether the result is that of the frame of this number."""
    frame = np.empty((HEIGHT, WIDTH), np.uint8)
    frame_of(value.number, frame)
    brightest, rows = int(frame.argmax()), [float(row.mean()) for row in frame[::10]]
    return value.brightest == brightest and np.allclose(value.rows, rows, rtol=1e-5)


def main() -> None:
    """Starts the processes, kills models, and is the encoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    processes = multiprocessing.get_context("spawn")

    def start(target: Any, *arguments: Any) -> Any:
        child = processes.Process(target=target, args=(BROKER, *arguments), daemon=True)
        child.start()
        return child

    with ipcq.Broker(BROKER) as broker, ipcq.connect(BROKER) as session:
        broker.create("frames", slots=8, slot_bytes=HEIGHT * WIDTH)
        broker.create("found", slots=16, slot_bytes=1024)
        encoder = session.consumer("found", type=Found)
        camera = start(run_camera, options.frames)
        models = [start(run_model) for _ in range(2)]
        seen: dict[int, Found] = {}
        twice = wrong = kills = 0
        deadline = time.monotonic() + 120
        while len(seen) < options.frames and time.monotonic() < deadline:
            try:
                value = encoder.receive(timeout=0.2)
            except ipcq.TimeoutError:
                continue
            twice += value.number in seen
            wrong += not check(value)
            seen[value.number] = value
            if kills < options.kills and len(seen) * (options.kills + 1) > options.frames * (kills + 1):
                victim = models.pop(random.randrange(2))
                victim.kill()
                victim.join()
                models.append(start(run_model))
                kills += 1
        camera.join(20)
        missing = options.frames - len(seen)
        broker.remove("frames", at_once=True)
        for model in models:
            model.join(20)
    print(f"{len(seen)} frames, {kills} models killed: {missing} missing, {wrong} wrong, {twice} done twice")
    raise SystemExit(missing != 0 or wrong != 0)


if __name__ == "__main__":
    main()

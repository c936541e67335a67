"""A data loader: processes read and decode samples into slots of a queue, and a trainer feeds its GPU from there.

    python data_loader.py [--samples N] [--epochs N] [--workers N] [--kills N] [--device auto|host|N]

The trainer, which is this process, sends the numbers of the samples of each batch; a worker reads them from a file,
decompresses them into a slot, and publishes it. The trainer copies a batch to pinned memory (a Buffer of a pool), whose
copy to the device runs while the step before computes. Workers are killed at random: what one held goes to another, and
a batch that was published, but not confirmed, comes twice and is told by its number.
Ends with code 0 only if each sample was used exactly once in each epoch, with the right contents on the device. On a
GPU it takes PyTorch, on the host NumPy.
"""

from __future__ import annotations

import argparse
import array
import multiprocessing
import os
import random
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipcq
import numpy as np

BROKER = f"loader-{os.getpid()}"
PIXELS, CLASSES, BATCH = 28 * 28, 10, 32
EPOCH, NUMBER, SAMPLE, LABEL, HEAD = 0, 1, 2, 3, 4  # columns of a batch, a sample a row; its pixels behind them
AHEAD = 8  # batches that workers may be asked for at a time
PATIENCE = 60.0  # seconds

Array = np.ndarray[Any, Any]


class Dataset:
    """Compressed images in one file, with an index beside it."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "images").open("rb")
        self._ends = np.load(folder / "ends.npy")

    @staticmethod
    def write(folder: Path, samples: int) -> Array:
        """Makes one, and returns the sum of each sample's pixels."""
        noise, ends, sums = np.random.default_rng(1), [0], []
        with (folder / "images").open("wb") as file:
            for sample in range(samples):
                pattern = np.arange(PIXELS) * (sample % CLASSES + 3) % 7 < 3
                image = (pattern * 100 + noise.integers(0, 50, PIXELS)).astype(np.uint8)
                ends.append(ends[-1] + file.write(zlib.compress(image.tobytes(), 1)))
                sums.append(image.sum(dtype=np.float64))
        np.save(folder / "ends.npy", ends)
        return np.asarray(sums)

    def read(self, sample: int) -> Array:
        """The pixels of a sample, decoded."""
        begin, end = self._ends[sample : sample + 2]
        return np.frombuffer(zlib.decompress(os.pread(self._file.fileno(), end - begin, begin)), np.uint8)


def run_worker(broker: str, folder: str) -> None:
    """Makes the batches that it is asked for, until there are no more. It may be killed at any instant."""
    data = Dataset(Path(folder))
    with ipcq.connect(broker, wait_for=10) as session, session.producer("batches") as batches:
        for task in session.consumer("tasks"):
            epoch, number, *samples = np.asarray(task).tolist()
            with batches.loan(shape=(len(samples), HEAD + PIXELS), dtype="float32") as slot:
                fill(np.asarray(slot), epoch, number, samples, data)
                slot.publish()
            # The task is released after this: a worker that is killed before leaves it to another.


def fill(rows: Array, epoch: int, number: int, samples: list[int], data: Dataset) -> None:
    """Reads and decodes samples to where the trainer reads them."""
    rows[:, EPOCH], rows[:, NUMBER], rows[:, SAMPLE] = epoch, number, samples
    for row, sample in zip(rows, samples, strict=True):
        row[LABEL] = sample % CLASSES
        row[HEAD:] = data.read(sample)


def plan(samples: int, epochs: int) -> Iterator[list[int]]:
    """The tasks: epoch, number of the batch, and its samples, in another order each epoch."""
    for epoch in range(epochs):
        order = random.Random(epoch).sample(range(samples), samples)
        for number, begin in enumerate(range(0, samples, BATCH)):
            yield [epoch, number, *order[begin : begin + BATCH]]


class NumpyModel:
    """Softmax regression on the host."""

    stream = None  # host memory has none

    def __init__(self) -> None:
        self.weights = np.zeros((PIXELS, CLASSES), np.float32)

    def step(self, view: ipcq.DeviceView, rows: int) -> tuple[Any, Any]:
        """Learns from a batch. Returns the sum of its pixels, and how many it got right before."""
        batch: Array = np.from_dlpack(view)[:rows]  # NumPy asks for less than DLPack has
        inputs, labels = batch[:, HEAD:] / 255, batch[:, LABEL].astype(int)
        scores = inputs @ self.weights
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        self.weights -= 0.01 / rows * inputs.T @ (chances - np.eye(CLASSES, dtype=np.float32)[labels])
        return batch[:, HEAD:].sum(dtype=np.float64), (scores.argmax(axis=1) == labels).sum()

    def finish(self) -> None:
        """Waits until all steps are done."""


class TorchModel:
    """The same on a GPU, in a stream of its own."""

    def __init__(self, gpu: int) -> None:
        try:
            import torch
        except ImportError:
            raise SystemExit(f"GPU {gpu} is there, and PyTorch is not: install it, or pass --device host") from None
        self.torch, self.device = torch, torch.device("cuda", gpu)
        self.stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(self.stream):
            self.weights = torch.zeros(PIXELS, CLASSES, device=self.device)

    def step(self, view: ipcq.DeviceView, rows: int) -> tuple[Any, Any]:
        """As NumpyModel.step(); enqueued, so what it returns is on the device."""
        torch = self.torch
        with torch.cuda.stream(self.stream):
            batch = torch.from_dlpack(view)[:rows]
            inputs, labels = batch[:, HEAD:] / 255, batch[:, LABEL].long()
            scores = inputs @ self.weights
            errors = scores.softmax(1) - torch.nn.functional.one_hot(labels, CLASSES)
            self.weights -= 0.01 / rows * inputs.T @ errors
            return batch[:, HEAD:].double().sum(), (scores.argmax(1) == labels).sum()

    def finish(self) -> None:
        """Waits until all steps are done: only then what they returned can be read from another stream."""
        self.stream.synchronize()


class Trainer:
    """Takes batches, feeds the device and counts what was used."""

    def __init__(self, session: ipcq.Session, pool: ipcq.BufferPool, samples: int, epochs: int) -> None:
        self._tasks, self._batches = session.producer("tasks"), session.consumer("batches")
        self._pool, self._plan = pool, plan(samples, epochs)
        self._done: set[tuple[int, int]] = set()
        self.model = NumpyModel() if pool.gpu is None else TorchModel(pool.gpu)
        self.used = np.zeros((epochs, samples), int)
        self.twice = 0
        self.results: list[tuple[Any, Any]] = []
        for _ in range(AHEAD):
            self._ask()

    def _ask(self) -> None:
        task = next(self._plan, None)
        if task is not None:
            self._tasks.send_array(array.array("q", task), timeout=PATIENCE)

    def _take(self) -> tuple[ipcq.Buffer, Array]:
        """The next batch that is not done, on its way to the device, and what its rows are."""
        while True:
            with self._batches.receive(timeout=PATIENCE) as message:
                head = np.array(np.asarray(message)[:, :HEAD], int)
                key = (head[0, EPOCH], head[0, NUMBER])
                if key in self._done:
                    self.twice += 1
                    continue
                buffer = self._pool.get(timeout=PATIENCE)  # waits for the step that has used it, if all are in use
                with buffer.host(write=True, keep=False) as view:
                    np.asarray(view)[: len(head)] = np.asarray(message)
                buffer.to_device()  # in a stream of the buffer's own, beside the step
            self._done.add(key)
            self._ask()
            return buffer, head

    def batches(self, count: int) -> Iterator[int]:
        """Trains on so many batches, and yields how many are done."""
        coming: deque[tuple[ipcq.Buffer, Array]] = deque()
        for done in range(count):
            while len(coming) < min(2, count - done):  # the next is copied while this one computes
                coming.append(self._take())
            buffer, head = coming.popleft()
            with buffer, buffer.device(self.model.stream) as view:
                self.results.append(self.model.step(view, len(head)))
            np.add.at(self.used, (head[:, EPOCH], head[:, SAMPLE]), 1)
            yield done + 1

    def close(self) -> None:
        """Ends the workers."""
        self._tasks.close()
        self._batches.close()


def device_of(text: str) -> int | str | None:
    """What ``--device`` says, as buffers take it."""
    return None if text == "host" else text if text == "auto" else int(text)


def main() -> None:
    """Starts the workers, trains, kills, and checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    row_bytes = 4 * (HEAD + PIXELS)
    count = -(-options.samples // BATCH) * options.epochs
    with (
        tempfile.TemporaryDirectory() as folder,
        ipcq.Broker(BROKER) as broker,
        ipcq.connect(BROKER) as session,
        ipcq.BufferPool(4, (BATCH, HEAD + PIXELS), "float32", device=device_of(options.device)) as pool,
    ):
        sums = Dataset.write(Path(folder), options.samples)
        broker.create("tasks", slots=2 * AHEAD, slot_bytes=8 * (BATCH + 2))
        broker.create("batches", slots=AHEAD, slot_bytes=BATCH * row_bytes)

        def start() -> Any:
            worker = processes.Process(target=run_worker, args=(BROKER, folder), daemon=True)
            worker.start()
            return worker

        trainer = Trainer(session, pool, options.samples, options.epochs)
        workers, kills = [start() for _ in range(options.workers)], 0
        begun = time.perf_counter()
        for done in trainer.batches(count):
            if kills < options.kills and done * (options.kills + 1) > count * (kills + 1):
                victim = workers.pop(random.randrange(len(workers)))
                victim.kill()
                victim.join()
                workers.append(start())
                kills += 1
        trainer.model.finish()
        learned = np.asarray([[float(number) for number in result] for result in trainer.results])
        seconds = time.perf_counter() - begun
        trainer.close()
        for worker in workers:
            worker.join(20)
    unused, again = int((trainer.used == 0).sum()), int((trainer.used > 1).sum())
    wrong = learned[:, 0].sum() != options.epochs * sums.sum()
    right = learned[-count // options.epochs :, 1].sum() / options.samples
    print(
        f"{trainer.used.sum()} samples on {pool.backend} in {seconds:.1f} s, {right:.0%} right in the last epoch, "
        f"{kills} workers killed, {trainer.twice} batches came twice"
    )
    print(f"{unused} unused, {again} used twice, contents {'wrong' if wrong else 'right'}")
    raise SystemExit(int(unused != 0 or again != 0 or wrong))


if __name__ == "__main__":
    main()

"""4K frames through three Python processes on a GPU, beside the C++ programs of the same work.

    python frames.py [--count N]

Broker, producer and consumer are processes. The producer's kernel makes each frame in its slot (R = x + f, G = y + f,
B = x + y + f, modulo 256), the queue's handler inverts it in place, the consumer's kernel compares every byte. Timed in
the consumer, from its first message to its last. The C++ programs are ipcq-producer --generate 4k and ipcq-consumer
--verify, which do the same. Needs CuPy, and MPS for the persistent kernel.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import time
from typing import Any

import ipcq
from ipcq._programs import program_path

BROKER = "frames-bench"
WIDTH, HEIGHT = 3840, 2160
FRAME = WIDTH * HEIGHT * 3

# A row has 720 units of 16 bytes. A thread stays in its column, whose bytes it works out once: each is what x and the
# frame's number make of it, and in G and B the row's number comes on top.
SOURCE = r"""
struct Column {
  unsigned base[4], rows[4];
  __device__ Column(unsigned column, unsigned f) {
    for (unsigned w = 0; w < 4; ++w) {
      base[w] = rows[w] = 0;
      for (unsigned k = 0; k < 4; ++k) {
        const unsigned i = 16 * column + 4 * w + k, x = i / 3, channel = i % 3;
        base[w] |= ((channel == 1 ? f : x + f) & 255) << (8 * k);
        rows[w] |= (channel == 0 ? 0u : 255u) << (8 * k);
      }
    }
  }
  __device__ unsigned word(unsigned w, unsigned y) const {
    return __vadd4(base[w], ((y & 255) * 0x01010101u) & rows[w]);
  }
};
extern "C" __global__ void make(uint4* out, unsigned f) {
  const unsigned rank = blockIdx.x * blockDim.x + threadIdx.x;
  const Column c(rank % 720, f);
  for (unsigned y = rank / 720; y < 2160; y += gridDim.x * blockDim.x / 720)
    out[y * 720 + rank % 720] = make_uint4(c.word(0, y), c.word(1, y), c.word(2, y), c.word(3, y));
}
extern "C" __global__ void compare(const uint4* in, unsigned f, unsigned long long* wrong) {
  const unsigned rank = blockIdx.x * blockDim.x + threadIdx.x;
  const Column c(rank % 720, f);
  unsigned found = 0;
  for (unsigned y = rank / 720; y < 2160; y += gridDim.x * blockDim.x / 720) {
    const uint4 v = in[y * 720 + rank % 720];
    found += __popc(__vcmpne4(v.x, ~c.word(0, y))) + __popc(__vcmpne4(v.y, ~c.word(1, y)));
    found += __popc(__vcmpne4(v.z, ~c.word(2, y))) + __popc(__vcmpne4(v.w, ~c.word(3, y)));
  }
  if (found != 0) atomicAdd(wrong, found / 8);
}
"""
GRID, BLOCK = (528,), (240,)  # threads: a multiple of a row's units


def produce(count: int) -> None:
    import cupy

    make = cupy.RawModule(code=SOURCE).get_function("make")
    stream = cupy.cuda.Stream(non_blocking=True)
    with ipcq.connect(BROKER, wait_for=60) as session, session.producer("frames", cuda=True, wait_for=60) as producer:
        with stream:
            make(GRID, BLOCK, (cupy.empty(FRAME, cupy.uint8), cupy.uint32(0)))  # loads it
            stream.synchronize()
            for f in range(count):
                with producer.loan(stream=stream) as slot:
                    make(GRID, BLOCK, (cupy.from_dlpack(slot), cupy.uint32(f % 256)))
                    slot.publish()
        stream.synchronize()


def consume(result: Any) -> None:
    import cupy

    compare = cupy.RawModule(code=SOURCE).get_function("compare")
    stream = cupy.cuda.Stream(non_blocking=True)
    with ipcq.connect(BROKER, wait_for=60) as session:
        consumer = session.consumer("frames", cuda=True, wait_for=60)
        with stream:
            wrong = cupy.zeros(1, cupy.uint64)
            compare(GRID, BLOCK, (cupy.empty(FRAME, cupy.uint8), cupy.uint32(0), wrong))
            stream.synchronize()
            wrong.fill(0)
            seen, begun = 0, 0.0
            for message in consumer.messages(stream):
                compare(GRID, BLOCK, (cupy.from_dlpack(message), cupy.uint32(message.sequence % 256), wrong))
                if seen == 0:
                    stream.synchronize()
                    begun = time.perf_counter()
                seen += 1
            stream.synchronize()
            ended = time.perf_counter()
            result.put((seen, int(wrong.get()[0]), ended - begun))
        consumer.close()


def in_python(count: int) -> float:
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    children = [context.Process(target=consume, args=(result,)), context.Process(target=produce, args=(count,))]
    for child in children:
        child.start()
    seen, wrong, seconds = result.get(timeout=300)
    for child in children:
        child.join(60)
    assert (seen, wrong) == (count, 0), f"{seen} of {count} frames, {wrong} wrong bytes"
    return (count - 1) / seconds


def in_cpp(count: int) -> float:
    consumer = subprocess.Popen(
        [program_path("ipcq-consumer"), "frames", "--broker", BROKER, "--verify", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    subprocess.run(
        [program_path("ipcq-producer"), "frames", "--broker", BROKER, "--generate", "4k", "--count", str(count)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    out, _ = consumer.communicate(timeout=300)
    assert consumer.returncode == 0, out
    report = json.loads(out.splitlines()[-1])
    return float(report["fps"])


def main() -> None:
    """Measures in turn, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    broker = subprocess.Popen(
        [
            program_path("ipcq-broker"),
            "--name",
            BROKER,
            "--queue",
            "frames=4k-rgb,slots=64,handler=invert,backend=cuda,mirror=none",
        ]
    )
    try:
        print("| 4K frames a second | C++ programs | Python | ratio |\n|---|---|---|---|")
        for _ in range(options.rounds):
            cpp = in_cpp(options.count)
            python = in_python(options.count)
            print(f"| {options.count} frames | {cpp:.0f} | {python:.0f} | {python / cpp:.2f} |", flush=True)
    finally:
        broker.terminate()
        broker.wait(30)


if __name__ == "__main__":
    main()

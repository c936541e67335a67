#!/usr/bin/env python3
"""Tasks a second through ipcq-redis, beside a bare client that does the same commands without a queue.

    bench/redis/throughput.py [--bin DIR] [--client FILE] [--count N] [--bytes B] [--runs R] [--backend host|cuda] [--kind stream|list]

A redis-server of the run's own (Unix socket, nothing kept on disk) gets N tasks of B bytes; then they are worked on by
redis_client (bench/redis/redis_client.cpp) or by one ipcq-redis whose queue has the handler `upper`. Each batch size is
tried R times in turn; a figure is the median, from the first task read to the last outcome confirmed. After each run
every result is counted. The last lines compare the best of both. Where there are four cores or more the server has one
of its own, which it would otherwise change now and then.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BATCHES = (64, 128, 256, 512)


def cores():
    """The cores of the server, and those of all others."""
    there = sorted(os.sched_getaffinity(0))
    if len(there) < 4:
        return set(there), set(there)
    return {there[1]}, set(there) - {there[1]}


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", default=os.path.join(root, "build/release/bin"))
    p.add_argument("--client", default=os.path.join(root, "build/release/bin/redis_client"))
    p.add_argument("--server", default=shutil.which("redis-server") or "redis-server")
    p.add_argument("--count", type=int, default=200_000)
    p.add_argument("--bytes", type=int, default=256)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--backend", choices=("host", "cuda"), default="host")
    p.add_argument("--kind", choices=("stream", "list"), action="append")
    p.add_argument("--no-target", action="store_true", help="exit with 0 whatever the ratio is")
    p.add_argument("--json", action="store_true", help="last line of stdout: the figures as one object")
    o = p.parse_args()
    work = tempfile.mkdtemp(prefix="ipcq-redis-bench.")
    environment = dict(os.environ, XDG_RUNTIME_DIR=work, IPCQ_BROKER=f"redis-bench-{os.getpid()}")
    started = []
    missed = False
    figures = {}
    try:
        url = f"unix://{work}/redis.sock"
        own, others = cores()
        started.append(subprocess.Popen([o.server, "--port", "0", "--unixsocket", f"{work}/redis.sock", "--save", "",
                                         "--dir", work], stdout=subprocess.DEVNULL))
        os.sched_setaffinity(started[0].pid, own)
        os.sched_setaffinity(0, others)  # which all that is started from here on inherits
        queue = f"work=4KiB,slots=1024,calls=1024,endpoints=4,handler=upper,backend={o.backend}"
        started.append(subprocess.Popen([f"{o.bin}/ipcq-broker", "--name", environment["IPCQ_BROKER"], "--queue", queue],
                                        env=environment, stderr=subprocess.DEVNULL))
        time.sleep(3 if o.backend == "cuda" else 0.5)

        def client(kind, batch, action):
            return subprocess.run([o.client, "--url", url, "--kind", kind, "--count", str(o.count), "--bytes",
                                   str(o.bytes), "--batch", str(batch), action], check=True, capture_output=True,
                                  text=True, timeout=300).stdout

        def bare(kind, batch):
            return float(client(kind, batch, "work"))

        def bridge(kind, batch):
            said = subprocess.run([f"{o.bin}/ipcq-redis", "--redis", url, "--queue", "work", f"--{kind}", "tasks",
                                   "--results", f"{kind}:results", "--batch", str(batch), "--until-empty", "--json",
                                   "--quiet"], check=True, capture_output=True, text=True, timeout=300, env=environment)
            of = json.loads(said.stdout)
            return of["done"] / of["working_seconds"]

        for kind in o.kind or ("stream", "list"):
            best = {}
            for batch in BATCHES:
                rates = {"bare": [], "ipcq-redis": []}
                for _ in range(o.runs):
                    for name, run in (("bare", bare), ("ipcq-redis", bridge)):
                        client(kind, batch, "fill")
                        rates[name].append(run(kind, batch))
                        client(kind, batch, "check")
                for name, of in rates.items():
                    rate = statistics.median(of)
                    best[name] = max(best.get(name, 0), rate)
                    print(f"{kind:6} batch {batch:4}  {name:10} {rate:9.0f} tasks/s  (" +
                          " ".join(f"{each:.0f}" for each in of) + ")", flush=True)
            ratio = best["ipcq-redis"] / best["bare"]
            missed |= ratio < 0.9
            figures[kind] = {**best, "ratio": ratio}
            print(f"{kind:6} best: {best['ipcq-redis']:.0f} / {best['bare']:.0f} = {ratio:.3f}, target 0.9: "
                  f"{'met' if ratio >= 0.9 else 'MISSED'}", flush=True)
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.wait(timeout=20)
        shutil.rmtree(work, ignore_errors=True)
    if o.json:
        print(json.dumps(figures))
    return 1 if missed and not o.no_target else 0


if __name__ == "__main__":
    sys.exit(main())

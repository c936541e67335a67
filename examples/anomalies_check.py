#!/usr/bin/env python3
"""Computes with NumPy, and CuPy where it is, what `anomalies ... PREFIX` has written, and compares.

usage: anomalies_check.py PREFIX [BATCH]
"""
import sys
import time

import numpy

WINDOW = 256
LIMIT = 4


def flags_of(xp, points, batch):
    """The flags of all points, batch after batch with the window carried along, as the queue's handler does it."""
    past = xp.zeros(WINDOW, dtype=xp.int64)
    flags = []
    for at in range(0, len(points), batch):
        both = xp.concatenate([past, xp.asarray(points[at:at + batch], dtype=xp.int64)])
        zero = xp.zeros(1, dtype=xp.int64)
        sums = xp.concatenate([zero, xp.cumsum(both)])
        squares = xp.concatenate([zero, xp.cumsum(both * both)])
        count = len(both) - WINDOW
        total = sums[WINDOW:WINDOW + count] - sums[:count]
        total_squares = squares[WINDOW:WINDOW + count] - squares[:count]
        away = WINDOW * both[WINDOW:] - total
        found = away * away > LIMIT * LIMIT * (WINDOW * total_squares - total * total)
        if at < WINDOW:
            found[:WINDOW - at] = False
        flags.append(found)
        past = both[-WINDOW:]
    return xp.concatenate(flags)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    prefix, batch = sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 500
    points = numpy.fromfile(prefix + ".points", dtype=numpy.int32)
    given = numpy.fromfile(prefix + ".flags", dtype=numpy.uint8)
    libraries = [("NumPy", numpy)]
    try:
        import cupy
        cupy.cuda.runtime.getDeviceCount()
        libraries.append(("CuPy", cupy))
    except Exception as why:  # not installed, or no GPU
        print(f"without CuPy: {why}")
    for name, xp in libraries:
        flags_of(xp, points[:4 * batch], batch)  # compiles its kernels
        start = time.perf_counter()
        flags = flags_of(xp, points, batch)
        flags = flags if xp is numpy else xp.asnumpy(flags)
        took = time.perf_counter() - start
        if not numpy.array_equal(flags, given.astype(bool)):
            sys.exit(f"{name} finds other anomalies")
        print(f"{name}: {int(flags.sum())} anomalies, the same; {took * 1e3:.1f} ms, {len(points) / took / 1e6:.2f} M points/s")


main()

#!/usr/bin/env python3
"""numba_step.py FILE CAPABILITY: what c_step.cu does, compiled by Numba to LTO-IR for a GPU of that capability (90)."""
import sys

from numba import cuda, types

SIGNATURE = types.int32(types.CPointer(types.uint8), types.uint64, types.CPointer(types.uint64))


def handle(data, length, context):
    code = 7 if context[0] == 0 and length > 0 and data[0] == 120 else 0
    i = context[0]
    while i < length:
        data[i] += 1
        i += context[1]
    return code


capability = int(sys.argv[2])
code, _ = cuda.compile(handle, SIGNATURE, device=True, abi="c", abi_info={"abi_name": "ipcq_handle"}, output="ltoir",
                       cc=(capability // 10, capability % 10))
with open(sys.argv[1], "wb") as file:
    file.write(code)

"""``python -m ipcq`` says what it found: versions, backends, GPUs, brokers."""

from __future__ import annotations

import importlib.util

from . import BackendError, build_info, device, devices, list_brokers
from ._programs import program_path


def _gpu_lines() -> list[str]:
    found = devices()
    if not found:
        try:
            device(0)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return [f"  none: {error}"]
    lines = []
    for one in found:
        try:
            verdict = "usable" if one.check() else ""
        except BackendError as error:
            verdict = str(error)
        capability = ".".join(map(str, one.capability))
        lines.append(
            f"  {one.index}: {one.name}, {one.memory_bytes / 2**30:.0f} GiB, compute capability {capability}, "
            f"CUDA {'.'.join(map(str, one.driver))} in the driver; {verdict}"
        )
    return lines


def main() -> None:
    """Prints the report."""
    info = build_info()
    print(f"ipcq {info.version}, layout {info.abi}, Python {info.python}, compiled by {info.compiler}")
    print(f"backends: {', '.join(info.backends)}", end="")
    print(f" (kernels for compute capability {', '.join(info.architectures)})" if info.architectures else "")
    print(f"programs: {program_path('ipcq-broker').parent}")
    print("GPUs:")
    print("\n".join(_gpu_lines()))
    print("brokers of this user:")
    brokers = list_brokers()
    for broker in brokers:
        print(
            f"  {broker.name}: {f'process {broker.pid}' if broker.alive else 'dead (ipcq clean removes what it left)'}"
        )
    if not brokers:
        print("  none")
    optional = ["numpy", "torch", "cupy", "numba", "uvloop", "tqdm", "redis"]
    there = [name for name in optional if importlib.util.find_spec(name) is not None]
    print(f"beside it: {', '.join(there) or 'none of ' + ', '.join(optional)}")


if __name__ == "__main__":
    main()

"""What this package was built with, and the GPUs of this machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from . import _core
from ._errors import BackendError, UsageError

_LEAST_CAPABILITY = (7, 0)


@dataclass(frozen=True)
class BuildInfo:
    """What this package was built with.

    Attributes:
        version: Of libipcq and of this package.
        abi: Of the shared memory layout: processes of one broker have the same.
        backends: ``host``, and ``cuda`` where it was built with the CUDA toolkit.
        compiler: Of the extension module.
        architectures: GPU architectures that have kernels of their own; later ones compile at first use.
        python: Of the interpreter that runs now.
    """

    version: str
    abi: int
    backends: tuple[str, ...]
    compiler: str
    architectures: tuple[str, ...]
    python: str


def build_info() -> BuildInfo:
    """What this package was built with."""
    return BuildInfo(
        version=_core.library_version,
        abi=_core.abi,
        backends=("host", "cuda") if _core.has_cuda else ("host",),
        compiler=_core.compiler,
        architectures=tuple(_core.architectures.split()),
        python=sys.version.split()[0],
    )


@dataclass(frozen=True)
class Device:
    """A GPU, as the driver describes it.

    Attributes:
        index: As CUDA counts them.
        name: Such as ``NVIDIA H200``.
        memory_bytes: Of the device.
        capability: Compute capability, such as (9, 0).
        multiprocessors: Number of streaming multiprocessors.
        driver: CUDA version that the driver has, such as (13, 0).
    """

    index: int
    name: str
    memory_bytes: int
    capability: tuple[int, int]
    multiprocessors: int
    driver: tuple[int, int]

    def check(self) -> Device:
        """Returns itself if kernels of this package run on it.

        Raises:
            BackendError: They do not; the text says why.
        """
        if self.capability < _LEAST_CAPABILITY:
            need = ".".join(map(str, _LEAST_CAPABILITY))
            has = ".".join(map(str, self.capability))
            raise BackendError(f"device {self.index} ({self.name}) has compute capability {has}; {need} is needed")
        return self


def _count() -> int:
    if not _core.has_cuda:
        raise BackendError(
            "this package was built without CUDA: install a wheel with it, or build one where nvcc is on PATH. Queues "
            "with backend='host' work without"
        )
    return _core.device_count()


def device(index: int = 0) -> Device:
    """Describes a GPU. Makes no CUDA context, but initialises the driver in this process.

    Raises:
        BackendError: No driver, or it does not work, or this package was built without CUDA; the text says which.
        UsageError: There is no such GPU.
    """
    count = _count()
    if not 0 <= index < count:
        raise UsageError(f"there is no GPU {index}: the driver shows {count} (CUDA_VISIBLE_DEVICES may hide others)")
    return Device(index, *_core.describe_device(index))


def devices() -> list[Device]:
    """All GPUs that the driver shows; empty where there is no driver or no GPU."""
    try:
        return [Device(index, *_core.describe_device(index)) for index in range(_count())]
    except BackendError:
        return []

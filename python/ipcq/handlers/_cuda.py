"""A handler's function as LTO-IR for GPUs."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable
from typing import Any

from .._errors import BackendError, UsageError
from ._context import ELEMENT_FUNCTION, FUNCTION
from ._host import cannot_compile
from ._wrapper import Parts, Task, element_wrapper, wrapper

_OLDEST = (7, 5)  # that NVIDIA's compilers of CUDA 13 know; the linker makes code for the queue's GPU of it
_INSTALL = (
    "pip install 'numba-cuda>=0.30' nvidia-nvvm nvidia-cuda-runtime nvidia-cuda-nvrtc nvidia-nvjitlink "
    "(the extra numba of ipcq's wheel)"
)
_OUTSIDE = re.compile(r"^\s*\.extern\s+\.func\s+(?:\([^)]*\)\s*)?([\w$]+)", re.MULTILINE)


def _numba_cuda() -> Any:
    try:
        from numba import cuda

        version = importlib.metadata.version("numba-cuda")
    except ImportError as error:
        raise BackendError(
            f"handlers that are Python functions are compiled for GPUs by numba-cuda: {_INSTALL}"
        ) from error
    except Exception as error:
        if not _has_no_library(error):
            raise
        raise BackendError(f"numba-cuda, which compiles handlers for GPUs: {_lacking(error)}") from error
    if _release(version) < (0, 30):
        raise BackendError(f"numba-cuda {version} is too old: {_INSTALL}")
    numpy = importlib.metadata.version("numpy")
    if _release(version) == (0, 30) and _release(numpy) >= (2, 5):
        raise BackendError(f"numba-cuda {version} does not work with NumPy {numpy}: pip install 'numpy<2.5'")
    return cuda


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


def _has_no_library(error: Exception) -> bool:
    """Whether it says that a library of CUDA was not found: numba-cuda looks for some when it is imported."""
    return type(error).__module__.startswith("cuda.pathfinder")


def _lacking(error: Exception) -> str:
    return f"a library of CUDA was not found ({str(error).partition(chr(10))[0]}): {_INSTALL}"


def _of_numba(module: str) -> Any:
    """A module of numba-cuda, which puts its modules where those of Numba's own were."""
    return importlib.import_module(f"numba.cuda.{module}")


def _parts() -> Parts:
    from numba import types

    return Parts(
        types,
        _of_numba("extending").intrinsic,
        _of_numba("np.arrayobj").populate_array,
        _of_numba("np.numpy_support").from_dtype,
        _of_numba("core.errors").TypingError,
        one_lane=False,
    )


class DeviceCode:
    """What a handler's function is compiled to for GPUs of compute capability 7.5 and later. Needs no GPU.

    Attributes:
        ptx: The same for the same handler, in each process.
    """

    def __init__(self, name: str, compiled: Callable[[str], bytes]) -> None:
        self._name = name
        self._compiled = compiled
        self.ptx = self._guarded("ptx")
        _check_symbols(name, self.ptx.decode())

    def ltoir(self) -> bytes:
        """What is linked. Its bytes differ from process to process, by the names that Numba gives."""
        return self._guarded("ltoir")

    def _guarded(self, output: str) -> bytes:
        """Raises UsageError: it cannot be compiled; BackendError: a library of CUDA is not installed."""
        errors = _of_numba("cudadrv.error")
        try:
            return self._compiled(output)
        except errors.NvvmSupportError as error:
            raise BackendError(
                f"{self._name}: libNVVM, which compiles it for a GPU, was not found: {_INSTALL}"
            ) from error
        except errors.CudaSupportError as error:
            raise UsageError(
                f"{self._name}: Numba cannot compile it for a GPU: it makes or fills an array, or calls a function "
                "that is compiled for the GPU that is current; work in data, in local numbers, and in the queue's state"
            ) from error
        except Exception as error:
            if _has_no_library(error):
                raise BackendError(f"{self._name}, for a GPU: {_lacking(error)}") from error
            if type(error).__module__.startswith("cuda.bindings"):
                raise UsageError(
                    f"{self._name}: libNVVM refuses what Numba has made of it ({error}): a tuple that is indexed by a "
                    "variable, or looped over, needs exceptions, which a GPU has not; use a global array"
                ) from error
            raise cannot_compile(self._name, "a GPU", error) from error


def compile_for_gpu(task: Task) -> DeviceCode:
    """Compiles the contract's function, or that of one element.

    Raises:
        UsageError: Numba cannot compile the function; the text has Numba's.
        BackendError: numba-cuda, or a library of CUDA, is not installed.
    """
    cuda = _numba_cuda()
    from numba import types

    def compiled(output: str) -> bytes:
        # Inlined by Numba: a call would be compiled for the GPU that is current, and needs one.
        inner = cuda.jit(device=True, inline="always")(task.function)
        parts, symbol = _parts(), FUNCTION
        if task.asked.is_elementwise:
            symbol = ELEMENT_FUNCTION
            entry, signature = element_wrapper(inner, task, parts)
        else:
            entry = wrapper(inner, task, parts)
            signature = types.int32(types.int64, types.int64, types.int64)
        code, _ = cuda.compile(
            entry,
            signature,
            device=True,
            abi="c",
            abi_info={"abi_name": symbol},
            output=output,
            cc=_OLDEST,
            fastmath=task.fastmath,
        )
        return code if isinstance(code, bytes) else code.encode()

    return DeviceCode(task.name, compiled)


def _check_symbols(name: str, ptx: str) -> None:
    for symbol in _OUTSIDE.findall(ptx):
        what = "it prints" if symbol == "vprintf" else f"it needs '{symbol}'"
        if symbol in ("malloc", "NRT_Allocate", "NRT_MemInfo_new"):
            what = "it makes an array, and handlers have no memory of their own"
        raise UsageError(f"{name}: {what}; work in data, in local numbers, and in the queue's state")

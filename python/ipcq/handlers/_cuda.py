"""A handler's function as LTO-IR for GPUs."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._errors import BackendError, UsageError
from ._context import ELEMENT_FUNCTION, FUNCTION
from ._wrapper import Parts, element_wrapper, wrapper

if TYPE_CHECKING:
    from ._base import Parameter
    from ._signature import Signature

_OLDEST = (7, 5)  # that NVIDIA's compilers of CUDA 13 know; the linker makes code for the queue's GPU of it
_INSTALL = "pip install ipcq[numba]"
_OUTSIDE = re.compile(r"^\s*\.extern\s+\.func\s+(?:\([^)]*\)\s*)?([\w$]+)", re.MULTILINE)


def _numba_cuda() -> Any:
    try:
        from numba import cuda

        version = importlib.metadata.version("numba-cuda")
    except ImportError as error:
        raise BackendError(
            f"handlers that are Python functions are compiled for GPUs by numba-cuda; install it: {_INSTALL}"
        ) from error
    if tuple(map(int, version.split(".")[:2])) < (0, 30):
        raise BackendError(f"numba-cuda {version} is too old: 0.30 is needed; {_INSTALL}")
    return cuda


def _parts() -> Parts:
    from numba import types
    from numba.cuda.core.errors import TypingError
    from numba.cuda.extending import intrinsic
    from numba.cuda.np.arrayobj import populate_array
    from numba.cuda.np.numpy_support import from_dtype

    return Parts(types, intrinsic, populate_array, from_dtype, TypingError, one_lane=False)


def compile_for_gpu(
    name: str,
    function: Callable[..., Any],
    asked: Signature,
    values: Mapping[str, Parameter],
    dtype: Any,
    state_dtype: Any,
    fastmath: bool,
) -> bytes:
    """LTO-IR with the contract's function, for GPUs of compute capability 7.5 and later. Needs no GPU.

    Raises:
        UsageError: Numba cannot compile the function; the text has Numba's.
        BackendError: numba-cuda, or libNVVM, is not installed.
    """
    cuda = _numba_cuda()
    from numba import types
    from numba.core.errors import NumbaError
    from numba.cuda.core.errors import NumbaError as CudaNumbaError
    from numba.cuda.cudadrv.error import CudaSupportError, NvvmError, NvvmSupportError

    # Inlined by Numba: a call would be compiled for the GPU that is current, and needs one.
    inner = cuda.jit(device=True, inline="always")(function)
    parts, symbol = _parts(), FUNCTION
    if asked.is_elementwise:
        symbol = ELEMENT_FUNCTION
        entry, signature = element_wrapper(inner, values, dtype, parts)
    else:
        entry = wrapper(inner, asked, values, dtype, state_dtype, parts)
        signature = types.int32(types.int64, types.int64, types.int64)

    def compiled(output: str) -> bytes:
        code, _ = cuda.compile(
            entry,
            signature,
            device=True,
            abi="c",
            abi_info={"abi_name": symbol},
            output=output,
            cc=_OLDEST,
            fastmath=fastmath,
        )
        return code if isinstance(code, bytes) else code.encode()

    try:
        _check_symbols(name, compiled("ptx").decode())
        return compiled("ltoir")
    except (NumbaError, CudaNumbaError) as error:
        raise UsageError(f"{name}: Numba cannot compile it for a GPU:\n{error}") from error
    except NvvmSupportError as error:
        raise BackendError(f"{name}: libNVVM, which compiles it for a GPU, was not found; {_INSTALL}") from error
    except CudaSupportError as error:
        raise UsageError(
            f"{name}: Numba cannot compile it for a GPU: it makes an array, or calls what is compiled for the GPU that "
            "is current; work in data, in local numbers, and in the queue's state"
        ) from error
    except NvvmError as error:
        raise UsageError(f"{name}: libNVVM refuses what Numba has made of it: {error}") from error


def _check_symbols(name: str, ptx: str) -> None:
    for symbol in _OUTSIDE.findall(ptx):
        what = "it prints" if symbol == "vprintf" else f"it needs '{symbol}'"
        if symbol in ("malloc", "NRT_Allocate", "NRT_MemInfo_new"):
            what = "it makes an array, and handlers have no memory of their own"
        raise UsageError(f"{name}: {what}; work in data, in local numbers, and in the queue's state")

"""A handler's function as an object file for the host: Numba's LLVM IR, and the contract's function around it."""

from __future__ import annotations

import ctypes
from typing import Any

from .._errors import BackendError, UsageError
from ._context import FAILED, FUNCTION
from ._wrapper import Parts, Task, wrapper

# Numba's own convention: a place for the result, one for an exception, then the arguments; 0 is success.
_CALL = """
declare i32 @"{inner}"(ptr, ptr, i64, i64, i64)
define i32 @{name}(i64 %data, i64 %length, i64 %context) {{
  %result = alloca i32
  %exception = alloca ptr
  store i32 0, ptr %result
  store ptr null, ptr %exception
  %status = call i32 @"{inner}"(ptr %result, ptr %exception, i64 %data, i64 %length, i64 %context)
  %value = load i32, ptr %result
  %good = icmp eq i32 %status, 0
  %code = select i1 %good, i32 %value, i32 {failed}
  ret i32 %code
}}
"""
_SECTION = """
@{name} = internal constant [{size} x i8] c"{text}", section ".{name}", align 16
@llvm.compiler.used = appending global [1 x ptr] [ptr @{name}], section "llvm.metadata"
"""
_INSTALL = "pip install 'numba>=0.62', and ziglang where there is no C++ compiler (the extra numba of ipcq's wheel)"


def needs_numba() -> BackendError:
    """What is raised without Numba."""
    return BackendError(f"handlers that are Python functions are compiled by Numba: {_INSTALL}")


def _modules() -> tuple[Any, Any]:
    try:
        import llvmlite.binding as llvm
        import numba
    except ImportError as error:
        raise needs_numba() from error
    if tuple(map(int, numba.__version__.split(".")[:2])) < (0, 62):
        raise BackendError(f"Numba {numba.__version__} is too old: {_INSTALL}")
    return numba, llvm


def cannot_compile(name: str, what_for: str, error: Exception) -> UsageError:
    """Of whatever Numba raises: for what it does not know it has many types of exceptions."""
    text = str(error) or "it does not say why"
    kind = "" if type(error).__module__.startswith("numba") else f"{type(error).__name__}: "
    return UsageError(f"{name}: Numba cannot compile it for {what_for}:\n{kind}{text}")


def _parts() -> Parts:
    from numba import from_dtype, types
    from numba.core.errors import TypingError
    from numba.extending import intrinsic
    from numba.np.arrayobj import populate_array

    return Parts(types, intrinsic, populate_array, from_dtype, TypingError, one_lane=True)


def compile_for_host(task: Task) -> str:
    """LLVM IR with the contract's function, for this machine.

    Raises:
        UsageError: Numba cannot compile the function; the text has Numba's.
        BackendError: Numba is not installed.
    """
    numba, _ = _modules()
    types = numba.types
    if numba.config.DISABLE_JIT:
        raise BackendError(f"{task.name}: NUMBA_DISABLE_JIT is set, so Numba compiles nothing; unset it")
    try:
        inner = numba.njit(error_model="numpy", fastmath=task.fastmath, inline="always")(task.function)
        entry = wrapper(inner, task, _parts())
        signature = types.int32(types.int64, types.int64, types.int64)
        made = numba.cfunc(signature, nopython=True, error_model="numpy", fastmath=task.fastmath)(entry)
        native = made.native_name.removeprefix("cfunc.")
        return str(made.inspect_llvm()) + "\n;;\n" + _CALL.format(inner=native, name=FUNCTION, failed=FAILED)
    except Exception as error:
        raise cannot_compile(task.name, "the host", error) from error


def _section(name: str, content: bytes) -> str:
    return _SECTION.format(name=name, size=len(content), text="".join(f"\\{byte:02x}" for byte in content))


def object_file(name: str, host: str, ltoir: bytes, element: str) -> bytes:
    """An object file with the code for the host, that for a GPU in a section of its own, or both.

    Args:
        name: For errors.
        host: LLVM IR; empty: none.
        ltoir: For a GPU; empty: none.
        element: Type of the elements, where the code for a GPU is a function of one.

    Raises:
        UsageError: The code needs what is in no C library, so it allocates, or calls the interpreter.
    """
    _, llvm = _modules()
    texts = host.split("\n;;\n") if host else []
    if ltoir:
        texts.append(_section("ipcq_ltoir", ltoir))
        if element:
            texts.append(_section("ipcq_element", element.encode() + b"\0"))
    module = llvm.parse_assembly(texts[0])
    for text in texts[1:]:
        module.link_in(llvm.parse_assembly(text))
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="default",
    )
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    _hide(llvm, module)
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    _check_symbols(name, module)
    made: bytes = machine.emit_object(module)
    return made


def _hide(llvm: Any, module: Any) -> None:
    """All but the contract's function becomes this object's own: what nobody calls goes, the rest has short names."""
    for number, value in enumerate([*module.functions, *module.global_variables]):
        if value.is_declaration or value.name == FUNCTION or value.name.startswith("llvm."):
            continue
        value.linkage = llvm.Linkage.internal
        if not value.name.startswith("ipcq_"):
            value.name = f"part{number}"


def _check_symbols(name: str, module: Any) -> None:
    libraries = [ctypes.CDLL(library) for library in ("libc.so.6", "libm.so.6")]
    for value in [*module.functions, *module.global_variables]:
        symbol = value.name
        if not value.is_declaration or symbol.startswith("llvm."):
            continue
        if any(hasattr(library, symbol) for library in libraries):
            continue
        what = "it needs '" + symbol + "', which no C library has"
        if symbol.startswith("NRT_"):
            what = "it makes or copies an array (or a list, text, ...), and handlers have no memory of their own"
        elif symbol.startswith(("Py", "_Py", "numba_gil", "numba_unpickle")):
            what = f"it needs the Python interpreter ({symbol}): for print(), an object, or text of an exception"
        elif symbol.startswith("numba_"):
            what = f"it needs a part of Numba's library ({symbol}), which is not there where handlers run"
        raise UsageError(f"{name}: {what}; work in data, in local numbers, and in the queue's state")

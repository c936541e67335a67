"""``ipcq.handler``: handlers of Python functions, and of CUDA C++ as text."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

from .._errors import UsageError
from .._system import devices
from ._base import Backend, Handler, Made, Parameter
from ._cuda import compile_for_gpu
from ._host import compile_for_host, needs_numba, object_file
from ._signature import Signature, called, signature_of
from ._wrapper import PASSED, Task

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class _Recipe:
    """What a function is compiled as; the same for all parameters."""

    dtype: Any
    state_dtype: Any
    elementwise: bool
    fastmath: bool


class FunctionHandler(Handler):
    """A handler that is a Python function, compiled by Numba: to native code for the host, to LTO-IR for GPUs.

    It can be pickled where its function stands at the top of a module, as a handler.

    Attributes:
        function: The Python function, for tests: ``h.function(array, ipcq.handlers.Team(0, 1))``.
        dtype: Type of the elements of ``data``.
        state_dtype: Type of the elements of ``state``.
    """

    __slots__ = ("_lock", "_made", "_origin", "_recipe", "_signature", "function")

    function: Callable[..., Any]

    _origin: FunctionHandler  # without parameters; what comes from it has its signature, its lock and what it has made
    _signature: Signature
    _lock: threading.Lock
    _made: dict[object, Made]  # by parameters and backends

    def __init__(
        self,
        function: Callable[..., Any],
        recipe: _Recipe,
        parameters: Mapping[str, Parameter] = MappingProxyType({}),
        origin: FunctionHandler | None = None,
    ) -> None:
        super().__init__(getattr(function, "__name__", "handler"), parameters)
        self.function = function
        self._recipe = recipe
        if origin is None:
            self._origin = self
            self._signature = signature_of(function, recipe.elementwise)
            self._lock, self._made = threading.Lock(), {}
        else:
            self._origin = origin
            self._signature, self._lock, self._made = origin._signature, origin._lock, origin._made  # noqa: SLF001

    @property
    def dtype(self) -> Any:
        """Type of the elements of ``data``."""
        return self._recipe.dtype

    @property
    def state_dtype(self) -> Any:
        """Type of the elements of ``state``."""
        return self._recipe.state_dtype

    def check_state(self, state_bytes: int) -> None:
        """Raises UsageError where a queue with so much state cannot have this handler."""
        if "state" not in self._signature.given:
            if state_bytes:
                raise UsageError(
                    f"{self._called}: it does not ask for the {state_bytes} bytes of state that the queue has; leave "
                    "state_bytes out, or give it a parameter state"
                )
        elif state_bytes < self._dtype("state_dtype").itemsize:
            raise UsageError(
                f"{self._called}: it asks for state, elements of {self._dtype('state_dtype')}, and the queue has "
                f"{state_bytes} bytes; give it some (state_bytes=...)"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        if self.parameters:
            return _with_parameters, (self._origin, dict(self.parameters))
        return _at, (self.function.__module__, self.function.__qualname__)

    @property
    def _ending(self) -> str:
        return ".o"

    @property
    def _called(self) -> str:
        return called(self.function)

    def _with(self, parameters: Mapping[str, Parameter]) -> Self:
        for key in parameters:
            if key not in self._signature.defaults:
                has = ", ".join(self._signature.defaults) or "none"
                raise UsageError(f"{self._called}: it has no parameter '{key}'; there are: {has}")
        return type(self)(self.function, self._recipe, parameters, self._origin)

    def _dtype(self, which: str) -> Any:
        try:
            import numpy as np
        except ImportError:
            raise needs_numba() from None
        given = getattr(self, which)
        try:
            dtype = np.dtype(given)
        except TypeError as error:
            raise UsageError(f"{self._called}, {which}: {given!r} is no type of elements: {error}") from None
        if not dtype.isnative:
            raise UsageError(f"{self._called}, {which}: {dtype} is not in the machine's byte order; convert the data")
        return dtype

    def _compile(self, backend: Backend, device: int) -> Made:
        for_host = backend != "cuda"
        for_gpu = backend == "cuda" or (backend == "auto" and any(d.index == device for d in devices()))
        key = (for_host, for_gpu, *sorted((k, repr(v)) for k, v in self.parameters.items()))
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(for_host, for_gpu)
            return self._made[key]

    def _make(self, for_host: bool, for_gpu: bool) -> Made:
        dtype, state_dtype = self._dtype("dtype"), self._dtype("state_dtype")
        element = dtype.name if self._recipe.elementwise else ""
        if element and element not in PASSED:
            raise UsageError(f"{self._called}: an elementwise handler has elements of {', '.join(PASSED)}, not {dtype}")
        values = {**self._signature.defaults, **self.parameters}
        name = self._called
        task = Task(name, self.function, self._signature, values, dtype, state_dtype, self._recipe.fastmath)
        host = compile_for_host(task) if for_host else ""
        native = object_file(name, host, b"", element) if for_host else b""
        if not for_gpu:
            return Made(native, lambda: native, is_content=True)
        gpu = compile_for_gpu(task)
        return Made(native + gpu.ptx, functools.cache(lambda: object_file(name, host, gpu.ltoir(), element)))


def _with_parameters(origin: FunctionHandler, parameters: Mapping[str, Parameter]) -> FunctionHandler:
    return origin(**parameters)


def _at(module: str, name: str) -> Handler:
    """What a pickle names. Raises UsageError: there is no handler of that name now."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Handler):
        return found
    raise UsageError(f"{module}.{name} is no handler: those that are passed to processes stand at the top of a module")


class SourceHandler(Handler):
    """A handler that is CUDA C++ as text, with ``IPCQ_HANDLER`` or ``ipcq_handle()`` in it (docs/guide/handlers.md).

    Attributes:
        source: The text.
    """

    __slots__ = ("source",)

    def __init__(self, source: str, name: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        super().__init__(name, parameters or {})
        if "IPCQ_HANDLER" not in source and "ipcq_handle" not in source:
            raise UsageError(
                f"{self._called}: the text has neither IPCQ_HANDLER(Type) nor ipcq_handle(); for a file write "
                "create(..., handler='file.cu')"
            )
        self.source = source

    @property
    def _ending(self) -> str:
        return ".cu"

    def _with(self, parameters: Mapping[str, Parameter]) -> Self:
        return type(self)(self.source, self.name, parameters)

    def _compile(self, backend: Backend, device: int) -> Made:  # noqa: ARG002
        content = self.source.encode()
        return Made(content, lambda: content, is_content=True)

    def check_state(self, state_bytes: int) -> None:
        """Nothing: the queue's executor knows, and says it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.source, self.name, dict(self.parameters))

    def _arguments(self) -> str:
        def text(value: Parameter) -> str:
            return ("yes" if value else "no") if isinstance(value, bool) else repr(value)

        return "".join(f":{key}={text(value)}" for key, value in self.parameters.items())


@overload
def handler(
    what: Callable[..., Any],
    /,
    *,
    dtype: Any = "uint8",
    state_dtype: Any = "uint8",
    elementwise: bool = False,
    fastmath: bool = False,
) -> FunctionHandler: ...
@overload
def handler(what: str, /, *, name: str = "handler") -> SourceHandler: ...
@overload
def handler(
    *, dtype: Any = "uint8", state_dtype: Any = "uint8", elementwise: bool = False, fastmath: bool = False
) -> Callable[[Callable[..., Any]], FunctionHandler]: ...
def handler(
    what: Callable[..., Any] | str | None = None,
    /,
    *,
    name: str = "handler",
    dtype: Any = "uint8",
    state_dtype: Any = "uint8",
    elementwise: bool = False,
    fastmath: bool = False,
) -> Handler | Callable[[Callable[..., Any]], FunctionHandler]:
    """Makes a handler for queues, ``create(..., handler=...)``: of a Python function, or of CUDA C++ as text.

    A function is compiled when a queue is created with it, by Numba (the extra ``numba``): for a queue on the
    host to native code, for one on a GPU to LTO-IR, which is inlined into the persistent kernel. It is called for each
    message, by each lane of a team, and is given by the names of its parameters, as far as it asks for them:

    - ``data``: the message, an array of one dimension and of ``dtype``, to be changed in place. A message whose length
      is no multiple of an element is refused (``processed`` is false).
    - ``team``: ``team.rank``, ``team.size``: begin at the one, and go on by the other.
    - ``message``: ``ipcq.handlers.Message``.
    - ``length``: an array of one element, the length in bytes. What rank 0 writes there is what readers get.
    - ``state``: the queue's state (``state_bytes``), an array of ``state_dtype``; it stays from message to message, and
      messages come one at a time.

    Its other parameters have defaults, and ``h(level=100)`` is the handler with others. It returns nothing; or a code,
    1 to 255, by which the message fails; or ``ipcq.handlers.DROP`` or ``REFUSE``. What rank 0 returns counts.

    Args:
        what: The function (as a decorator), or the text.
        name: Of a text.
        dtype: Elements of ``data``, as ``numpy.dtype`` takes them.
        state_dtype: Elements of ``state``.
        elementwise: The function is of one element, its first parameter, and returns what the element becomes. On a GPU
            it is as fast as the built-in handlers, which a loop over ``data`` in Python is not.
        fastmath: Whether Numba may reorder operations on floats.

    Raises:
        UsageError: No such function or text. What Numba cannot compile is said when the queue is created.
    """
    recipe = _Recipe(dtype, state_dtype, elementwise, fastmath)
    if isinstance(what, str):
        if recipe != _Recipe("uint8", "uint8", elementwise=False, fastmath=False):
            raise UsageError(f"handler '{name}': dtype, state_dtype, elementwise and fastmath are for Python functions")
        return SourceHandler(what, name)
    if name != "handler":
        raise UsageError(f"handler '{name}': a function has a name of its own; leave name out")
    if what is None:
        return lambda function: FunctionHandler(function, recipe)
    return FunctionHandler(what, recipe)

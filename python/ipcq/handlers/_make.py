"""``ipcq.handler``: handlers of Python functions, and of CUDA C++ as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, overload

from .._errors import UsageError
from .._system import devices
from ._base import Backend, Handler, Parameter
from ._signature import Signature, called, signature_of
from ._wrapper import PASSED

if TYPE_CHECKING:
    from typing_extensions import Self


class FunctionHandler(Handler):
    """A handler that is a Python function, compiled by Numba: to native code for the host, to LTO-IR for GPUs.

    Attributes:
        function: The Python function, for tests: ``h.function(array, ipcq.handlers.Team(0, 1))``.
        dtype: Type of the elements of ``data``.
        state_dtype: Type of the elements of ``state``.
    """

    __slots__ = ("_compiled", "_fastmath", "_signature", "dtype", "function", "state_dtype")

    function: Callable[..., Any]

    def __init__(
        self,
        function: Callable[..., Any],
        dtype: Any,
        state_dtype: Any,
        elementwise: bool,
        fastmath: bool,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> None:
        super().__init__(getattr(function, "__name__", "handler"), parameters or {})
        self._signature: Signature = signature_of(function, elementwise)
        self.function = function
        self.dtype = dtype
        self.state_dtype = state_dtype
        self._fastmath = fastmath
        self._compiled: dict[str, Any] = {}

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
        elementwise = self._signature.is_elementwise
        return type(self)(self.function, self.dtype, self.state_dtype, elementwise, self._fastmath, parameters)

    def _compile(self, backend: Backend, device: int) -> bytes:
        for_host = backend != "cuda"
        for_gpu = backend == "cuda" or (backend == "auto" and any(d.index == device for d in devices()))
        key = f"{for_host} {for_gpu}"
        if key not in self._compiled:
            self._compiled[key] = self._make(for_host, for_gpu)
        made: bytes = self._compiled[key]
        return made

    def _make(self, for_host: bool, for_gpu: bool) -> bytes:
        from ._cuda import compile_for_gpu
        from ._host import compile_for_host, object_file

        try:
            import numpy as np

            dtype, state_dtype = np.dtype(self.dtype), np.dtype(self.state_dtype)
        except ImportError:
            from ._host import needs_numba

            raise needs_numba() from None
        except TypeError as error:
            raise UsageError(f"{self._called}: dtype is a type of elements, as numpy.dtype takes it: {error}") from None
        elementwise = self._signature.is_elementwise
        if elementwise and dtype.name not in PASSED:
            raise UsageError(f"{self._called}: an elementwise handler has elements of {', '.join(PASSED)}, not {dtype}")
        values = {**self._signature.defaults, **self.parameters}
        what = (self._called, self.function, self._signature, values, dtype, state_dtype, self._fastmath)
        host = compile_for_host(*what) if for_host else ""
        gpu = compile_for_gpu(*what) if for_gpu else b""
        return object_file(self._called, host, gpu, dtype.name if elementwise else "")


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

    def _compile(self, backend: Backend, device: int) -> bytes:  # noqa: ARG002
        return self.source.encode()

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

    A function is compiled when a queue is created with it, by Numba (``pip install ipcq[numba]``): for a queue on the
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
    if isinstance(what, str):
        return SourceHandler(what, name)
    if name != "handler":
        raise UsageError(f"handler '{name}': a function has a name of its own; leave name out")
    if what is None:
        return lambda function: FunctionHandler(function, dtype, state_dtype, elementwise, fastmath)
    return FunctionHandler(what, dtype, state_dtype, elementwise, fastmath)

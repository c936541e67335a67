"""What all handlers made in Python have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from .._errors import UsageError
from ._files import keep, write

if TYPE_CHECKING:
    from typing_extensions import Self

Backend = Literal["auto", "host", "cuda"]
Parameter = bool | int | float


@dataclass(frozen=True)
class Made:
    """A handler's file.

    Attributes:
        identity: What it is made of: the same for the same handler, in each process.
        content: Makes it.
        is_content: The content is the identity.
    """

    identity: bytes
    content: Callable[[], bytes]
    is_content: bool = False


class Handler(ABC):
    """A handler made in Python, by ``ipcq.handler``. Constant: it may be given to any number of queues.

    Attributes:
        name: What files and ``ipcq stats`` call it.
        parameters: Those that were set, by name.
    """

    __slots__ = ("name", "parameters")

    name: str
    parameters: Mapping[str, Parameter]

    def __init__(self, name: str, parameters: Mapping[str, Parameter]) -> None:
        self.name = name
        self.parameters = MappingProxyType(dict(parameters))

    def __call__(self, **parameters: Parameter) -> Self:
        """The same handler with these parameters.

        Raises:
            UsageError: A value is no bool, int or float, or (of a function) there is no such parameter.
        """
        plain = {key: self._plain(key, value) for key, value in parameters.items()}
        return self._with({**self.parameters, **plain})

    def queue_option(self, backend: Backend = "auto", device: int = 0) -> str:
        """What ``create(handler=...)`` makes of it: the file, which is compiled and written if need be, and parameters.

        Takes up to a second where Numba compiles a function; this process keeps what was compiled. The file lies in
        ``$XDG_CACHE_HOME/ipcq/sources`` and stays there (64 MiB of the newest).

        Args:
            backend: Of the queue. ``auto``: the file is good for both, where there is a GPU.
            device: Of the queue.

        Raises:
            UsageError: The function cannot be compiled; the text says what of it.
            BackendError: What compiles it is not installed.
            SystemError: The file cannot be written.
        """
        made = self._compile(backend, device)
        path = keep(self._file_stem, self._ending, made.identity, made.content, made.is_content)
        return str(path) + self._arguments()

    def save(self, path: str | Path, backend: Backend = "auto", device: int = 0) -> Path:
        """Writes the handler's file, for ``ipcq-broker --queue ...,handler=FILE`` and C++. Returns the path.

        Raises:
            UsageError: The path does not end as the file does (.o of functions, .cu of text).
            SystemError: It cannot be written.
            BackendError: As ``queue_option()``.
        """
        path = Path(path)
        if path.suffix != self._ending:
            raise UsageError(f"{self._called}: '{path}' is to end in {self._ending}, by which queues know what it is")
        write(path, self._compile(backend, device).content())
        return path

    @abstractmethod
    def check_state(self, state_bytes: int) -> None:
        """Raises UsageError where a queue with so much state cannot have this handler, as far as that is known here."""

    def __repr__(self) -> str:
        parameters = "".join(f", {key}={value!r}" for key, value in self.parameters.items())
        return f"<ipcq.Handler {self.name}{parameters}>"

    @property
    def _called(self) -> str:
        return f"handler '{self.name}'"

    def _plain(self, key: str, value: Parameter) -> Parameter:
        """Of a type of Python's own: those of NumPy and of enumerations have other texts."""
        of_numpy: Any = value
        if type(of_numpy).__module__ == "numpy" and hasattr(of_numpy, "item"):
            value = of_numpy.item()
        if isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int) and -(2**63) <= value < 2**64:
            return int(value)
        text = hex(value) if isinstance(value, int) else repr(value)  # decimal digits have a limit
        raise UsageError(f"{self._called}, parameter '{key}': {text:.60} is no bool, int of 64 bits or float")

    @property
    def _file_stem(self) -> str:
        return re.sub(r"[^A-Za-z0-9_]", "_", self.name)[:40] or "handler"

    @property
    @abstractmethod
    def _ending(self) -> str: ...

    @abstractmethod
    def _with(self, parameters: Mapping[str, Parameter]) -> Self: ...

    @abstractmethod
    def _compile(self, backend: Backend, device: int) -> Made: ...

    def _arguments(self) -> str:
        """Of the queue's option, behind the file."""
        return ""

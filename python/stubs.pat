# What nanobind.stubgen changes in the stub of ipcq._core (scripts/python-stubs): a pattern, and what stands instead.

# Names that the signatures in python/src use.
ipcq._core.__prefix__:
    \from collections.abc import Iterable, Sequence
    \from types import TracebackType
    \from typing import Any
    \from ipcq._buffer_like import BufferLike
    \from typing_extensions import CapsuleType, Self

# What differs from build to build has no value here.
ipcq._core.(library_version|compiler|architectures)$:
    \1: str

ipcq._core.abi$:
    abi: int

ipcq._core.has_cuda$:
    has_cuda: bool

# What an object returns is itself, and its type that of a class derived from it.
ipcq._core.(?:\w+.(__enter__)|MessageIterator.(__iter__))$:
    def \1\2(self) -> Self: ...

ipcq._core.\w+.detach$:
    def detach(self) -> Self:
    \doc

ipcq._core.\w+.__exit__$:
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
    \doc

# The buffer protocol, which stands in no signature.
ipcq._core.(Buffer|Call|HostView|Loan|Message|Request).__suffix__:
    def __buffer__(self, flags: int, /) -> memoryview: ...

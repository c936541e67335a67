"""What the typed endpoints have in common: the endpoint of bytes below, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Closable(Protocol):
    """A producer, a consumer, a client or a server."""

    def close(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


E = TypeVar("E", bound=Closable)


class OverRaw(Generic[E]):
    """An endpoint of values over one of bytes, which is ``raw``."""

    __slots__ = ("raw",)

    def __init__(self, raw: E) -> None:
        self.raw = raw
        """The endpoint of bytes below."""

    def close(self) -> None:
        """As the endpoint below's ``close()``."""
        self.raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.raw.__exit__(kind, value, traceback)

"""What calls take as bytes: for type checkers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing import TypeAlias

    from typing_extensions import Buffer


class SupportsArrayInterface(Protocol):
    """NumPy's arrays, whose stubs show the buffer protocol from Python 3.12 on alone."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


BufferLike: TypeAlias = "Buffer | SupportsArrayInterface"

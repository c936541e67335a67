"""Pools of buffers: arrays in pinned host memory and on a GPU, whose memory is allocated once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class BufferPoolStats:
    """What a pool has lent, at one moment.

    Attributes:
        count: Buffers of the pool.
        held: Of these: lent, and not back.
        in_use: Of these: back, and still used by streams.
        gets: Buffers that were lent, ever.
        waits: Calls of ``get()`` that had to wait.
        dry: Calls of ``get()`` that came to nothing.
    """

    count: int
    held: int
    in_use: int
    gets: int
    waits: int
    dry: int


class BufferPool(_core.BufferPool):
    """Buffers of one shape and type, for loops: allocating and freeing wait for whatever runs on the GPU.

    ``get()`` lends one, which goes back by its ``release()``, at the end of its ``with``, or when Python drops it, and
    is lent again when the streams that have used it are done. Usable from any thread.

    Args:
        count: Number of buffers, all of which are allocated in this call.
        shape: Of the array, in elements.
        dtype: Of its elements, such as ``float32`` or ``numpy.float32``.
        device: The number of a GPU; None: host memory alone; ``"auto"``: GPU 0 where the driver has one, else host
            memory. ``backend`` says which.

    Raises:
        BackendError: No driver, no such GPU, or no room for all of them.
        ValueError: The count is 0, or the shape or type is none.
    """

    __slots__ = ()

    def stats(self) -> BufferPoolStats:
        """Counts of this pool. Waits for nothing."""
        return BufferPoolStats(*self._counts())

    def __enter__(self) -> Self:
        return self

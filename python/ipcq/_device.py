"""Endpoints whose payloads are in device memory, in the order of streams."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from . import _core
from ._consumer import Consumer
from ._errors import BackendError, Empty, EndOfStream, UsageError
from ._producer import Producer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn

    from ._core import DeviceLoan, DeviceMessage
    from ._session import Session


class DeviceProducer(Producer):
    """A producer whose loans are in device memory, for the work of a stream. ``Session.producer(..., cuda=True)``.

    ``send()`` and its kin send what the CPU has, as ever.
    """

    __slots__ = ("_device",)

    def __init__(self, session: Session, queue: str, *, device: int = 0, **options: Any) -> None:
        _check_cuda(queue)
        super().__init__(session, queue, cuda=True, **options)
        self._device = device

    def loan(  # type: ignore[override]
        self,
        timeout: float | None = None,
        *,
        stream: object = None,
        shape: Sequence[int] | None = None,
        dtype: object = "uint8",
    ) -> DeviceLoan:
        """Borrows a slot that kernels of ``stream`` write: ``torch.from_dlpack(slot)``, ``cupy.from_dlpack(slot)``.

        Args:
            timeout: Seconds to wait for a slot, on the CPU.
            stream: Of PyTorch, CuPy, Numba or cuda.core, its handle, or None: the legacy default stream.
            shape: The slot is an array of this shape, which travels with it; None: bytes.
            dtype: Of its elements, such as ``float32`` or ``numpy.float32``.

        Raises:
            BackendError: No driver, or the queue's pool cannot be reached from this GPU.
            UsageError: The stream captures a graph; the queue has no room for an array's shape.
            As ``Producer.loan()``.
        """
        return _core.loan_on(self, stream, timeout, shape, dtype, self._device)


class DeviceConsumer(Consumer):
    """A consumer whose messages are in device memory, for the work of a stream. ``Session.consumer(..., cuda=True)``.

    Its descriptor cannot wait in an event loop: a message is there for its stream before its payload is complete.
    """

    __slots__ = ("_device",)

    def __init__(self, session: Session, queue: str, *, device: int = 0, **options: Any) -> None:
        _check_cuda(queue)
        super().__init__(session, queue, cuda=True, **options)
        self._device = device

    def receive(self, timeout: float | None = None, *, stream: object = None) -> DeviceMessage:  # type: ignore[override]
        """Takes the next published message, and lets ``stream`` wait until its payload is complete and processed.

        The CPU waits for the publication alone, up to ``timeout`` seconds. The message is released behind the work of
        the streams that have used it.

        Args:
            timeout: Seconds; None: no limit; 0: not at all.
            stream: As of ``DeviceProducer.loan()``.

        Raises:
            BackendError, UsageError: As ``DeviceProducer.loan()``.
            As ``Consumer.receive()``.
        """
        return _core.receive_on(self, stream, timeout, self._device)

    def try_receive(self, stream: object = None) -> DeviceMessage | None:  # type: ignore[override]
        """The next message if one is published now, else None. Raises as ``receive()``."""
        try:
            return self.receive(0, stream=stream)
        except Empty:
            return None

    def _of_the_cpu(self, *_: object, **__: object) -> NoReturn:
        """Raises UsageError: this consumer receives for streams of a GPU alone, by ``receive(stream=...)``."""
        raise UsageError(
            f"queue '{self.queue}': this consumer receives for streams of a GPU, by receive(stream=...); open another "
            "without cuda=True for the CPU and for event loops"
        )

    receive_async = receive_many = receive_bytes = receive_records = receive_into = _of_the_cpu
    fileno = __aiter__ = _of_the_cpu

    def messages(self, stream: object = None) -> Iterator[DeviceMessage]:
        """The messages until the end of the stream of messages, for one stream of the GPU.

        Each is released when the next is asked for, or, where an array that was made of it by DLPack is alive, with the
        last of these.
        """
        while True:
            try:
                message = self.receive(stream=stream)
            except EndOfStream:
                return
            yield message
            if message.held:
                with contextlib.suppress(BufferError):
                    message.release()
            del message

    def __iter__(self) -> Iterator[DeviceMessage]:  # type: ignore[override]
        return self.messages()


def _check_cuda(queue: str) -> None:
    if not _core.has_cuda:
        raise BackendError(
            f"queue '{queue}': cuda=True: this package was built without CUDA: install a wheel with it, or build one "
            "where nvcc is on PATH"
        )

"""How messages and replies of each type travel in a queue of calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .. import _kinds
from .._errors import MalformedError, Status, StatusError, UsageError
from .._schemas import Schema, schema_of, value_in
from .._server import Failure
from .._typed_calls import MALFORMED
from .._waits import remaining

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .._client import Call, Client
    from .._core import Request

_HEAD_BYTES = _kinds.Array.size  # an ipcq::Tensor


class Codec:
    """Bytes: what ``input=None`` and ``output=None`` mean.

    Attributes:
        schema: What the queue calls the type.
        size: Bytes of each value; None: they differ.
        room: Option of the launch that says how long a message may be.
    """

    schema = ""
    size: int | None = None
    room = "message_bytes"

    def encode(self, value: Any) -> Buffer:
        """The payload. Raises UsageError."""
        if value is None:
            return b""
        try:
            return bytes(memoryview(value))
        except TypeError:
            raise UsageError(
                f"{type(value).__name__} has no bytes: pass bytes, or launch the actor with a type"
            ) from None

    def decode(self, payload: bytes, asked: Any) -> Any:  # noqa: ARG002
        """The value of a reply; ``asked``: the message that it answers. Raises MalformedError."""
        return payload

    def value_of(self, request: Request, keep: bool) -> Any:  # noqa: ARG002
        """A request's value. ``keep``: it outlives the request. Raises Failure: it is none of the type."""
        return bytes(request)

    def send(self, client: Client, value: Any, timeout: float | None, waits: bool) -> Call:
        """Asks; ``timeout`` is the call's, its wait for room included. Not ``waits``: Full where there is none.

        Raises UsageError, too: the message is no value of the type, or longer than the actor takes.
        """
        payload = self.encode(value)
        try:
            return client._call(payload, timeout, None, waits)  # noqa: SLF001
        except StatusError as error:
            if error.status is not Status.TOO_LARGE:
                raise
            raise self.too_long(client, f"a message of {memoryview(payload).nbytes} bytes", client.max_bytes) from None

    def too_long(self, client: Client, what: str, most: int) -> UsageError:
        """Of a message, and how long it may be."""
        return UsageError(
            f"{what}, and actor '{client.queue}' takes {most} at most: launch it with a larger {self.room}"
        )


class _ValueCodec(Codec):
    """A dataclass."""

    def __init__(self, of: Any) -> None:
        self._schema: Schema[Any] = schema_of(of)
        self.schema = self._schema.text
        self.size = None if _varies(self._schema._kind) else self._schema.size  # noqa: SLF001

    def encode(self, value: Any) -> bytes:
        return self._schema.encode(value)

    def decode(self, payload: bytes, asked: Any) -> Any:  # noqa: ARG002
        return self._schema.decode(payload)

    def value_of(self, request: Request, keep: bool) -> Any:  # noqa: ARG002
        try:
            return value_in(self._schema, bytes(request), request.metadata)
        except MalformedError as error:
            raise Failure(MALFORMED, f"the message is no {self.schema}: {error}") from None


class _ArrayCodec(Codec):
    """NumPy arrays: shape and element type in 128 bytes, and the elements behind them, written and read in place."""

    schema = "tensor"

    def encode(self, value: Any) -> bytes:
        import numpy as np

        array = _array(value)
        elements: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return b"".join((_head(array, _HEAD_BYTES), memoryview(elements)))

    def decode(self, payload: bytes, asked: Any) -> Any:  # noqa: ARG002
        return _array_in(payload, b"")

    def value_of(self, request: Request, keep: bool) -> Any:
        payload: Any = bytes(request) if keep else memoryview(request)
        try:
            return _array_in(payload, request.metadata)
        except MalformedError as error:
            raise Failure(MALFORMED, f"the message is no array: {error}") from None

    def send(self, client: Client, value: Any, timeout: float | None, waits: bool) -> Call:
        return self._send_in_place(client, _array(value), timeout, waits, _HEAD_BYTES)

    def _send_in_place(self, client: Client, array: Any, timeout: float | None, waits: bool, place: int) -> Call:
        """The array is copied once: into the slot in which the actor sees it."""
        import numpy as np

        length = place + array.nbytes
        if length > client.slot_bytes and not client.closed:  # a closed one says that it is
            raise self.too_long(client, f"an array of {array.nbytes} bytes", client.slot_bytes - place)
        expires = None if timeout is None else time.monotonic() + timeout
        with client.loan(timeout if waits else 0) as slot:
            view = memoryview(slot)
            if place:
                view[:place] = _head(array, place)
            else:
                slot.set_metadata(_head(array, 0))
            np.copyto(np.frombuffer(view, array.dtype, array.size, place).reshape(array.shape), array)
            view.release()
            return client._call(slot, remaining(expires), length, waits)  # noqa: SLF001


class _ElementsCodec(_ArrayCodec):
    """Arrays of a handler, which sees the elements alone: their shape lies beside them."""

    schema = ""

    def decode(self, payload: bytes, asked: Any) -> Any:
        import numpy as np

        array = np.frombuffer(payload, np.asarray(asked).dtype)
        return array.reshape(np.shape(asked)) if array.size == np.size(asked) else array

    def send(self, client: Client, value: Any, timeout: float | None, waits: bool) -> Call:
        return self._send_in_place(client, _array(value), timeout, waits, 0)


def codec_of(of: Any, *, handler: bool = False) -> Codec:
    """Of a type: a dataclass, ``numpy.ndarray``, ``bytes`` or None. ``handler``: the queue has one."""
    made: Codec
    if of is None or of is bytes:
        made = Codec()
    elif _kinds.is_ndarray(of):
        made = _ElementsCodec() if handler else _ArrayCodec()
    else:
        made = _ValueCodec(of)
    if handler:
        made.room = "slot_bytes"
    return made


def _varies(kind: _kinds.Kind) -> bool:
    if isinstance(kind, (_kinds.Text, _kinds.Bytes, _kinds.List, _kinds.Array)):
        return True
    inner = [inner for _, inner, _ in getattr(kind, "_fields", [])]
    element = getattr(kind, "_element", None)
    return any(_varies(one) for one in [*inner, *([] if element is None else [element])])


def _array(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    try:
        _kinds.check_array(array)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return array


def _head(array: Any, place: int) -> bytearray:
    head = bytearray(_HEAD_BYTES)
    _kinds.put_tensor(head, 0, array, place)
    return head


def _array_in(payload: Any, beside: bytes) -> Any:
    value = beside if len(beside) == _HEAD_BYTES else payload
    if len(value) < _HEAD_BYTES:
        raise MalformedError(f"it has {len(value)} bytes, and the shape of an array {_HEAD_BYTES}")
    return _kinds.Array().get(value, 0, _kinds.Reader(payload, _HEAD_BYTES))

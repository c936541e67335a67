"""How a value of each kind of field lies in a message, as ``ipcq/flat.hpp`` has it, and what a schema calls it."""

from __future__ import annotations

import struct
from typing import Any

from ._errors import MalformedError, UsageError

_REFERENCE = struct.Struct("<II")
_TENSOR_HEAD = struct.Struct("<BBHIQ16x")
_TENSOR_BYTES = 128
_MOST_DIMENSIONS = 8
_TENSOR_ALIGNMENT = 128
_MOST_BYTES = 0xFFFFFFFF


class Writer:
    """A payload that is built: the value first, behind it what its fields refer to."""

    def __init__(self, size: int) -> None:
        self.out = bytearray(size)

    def reserve(self, size: int, alignment: int) -> int:
        """Makes room, and says where."""
        at = -(-len(self.out) // alignment) * alignment
        if at + size > _MOST_BYTES:
            raise UsageError("a value in a message has less than 4 GiB")
        self.out.extend(bytes(at + size - len(self.out)))
        return at


class Reader:
    """A payload that is read: a private copy, so that nothing changes behind a check."""

    def __init__(self, payload: bytes, value_bytes: int) -> None:
        self.payload = payload
        # Bytes that may be copied out: lists may name the same ones over and over, and a short message would make an
        # endless value.
        self._left = 4 * (len(payload) + value_bytes)

    def check(self, at: int, count: int, size: int, alignment: int) -> None:
        """That elements are within the payload, and have not all been named before."""
        if count and (at % alignment or at > len(self.payload) or count > (len(self.payload) - at) // size):
            raise MalformedError("it reaches beyond the message")
        self._left -= count * size
        if self._left < 0:
            raise MalformedError("its lists name the same elements over and over")


class Kind:
    """What a field is: its size and alignment in bytes, and its name in a schema."""

    text: str
    size: int
    alignment: int

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:
        """Writes a value. Raises TypeError, ValueError, struct.error."""
        raise NotImplementedError

    def get(self, data: bytes, at: int, reader: Reader) -> Any:
        """Reads a value. Raises MalformedError."""
        raise NotImplementedError


class Number(Kind):
    """An integer or a float."""

    def __init__(self, text: str, code: str) -> None:
        self.text = text
        self.code = code
        self._struct = struct.Struct("<" + code)
        self.size = self.alignment = self._struct.size

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:  # noqa: ARG002
        self._struct.pack_into(out, at, value)

    def get(self, data: bytes, at: int, reader: Reader) -> Any:  # noqa: ARG002
        return self._struct.unpack_from(data, at)[0]


class Truth(Kind):
    """A bool, which is 0 or 1 and nothing else."""

    text, size, alignment = "bool", 1, 1

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:  # noqa: ARG002
        if value not in (False, True):
            raise ValueError(f"{value!r} is no bool")
        out[at] = int(value)

    def get(self, data: bytes, at: int, reader: Reader) -> bool:  # noqa: ARG002
        if data[at] > 1:
            raise MalformedError("a bool is neither 0 nor 1")
        return bool(data[at])


class CharArray(Kind):
    """Text in the struct itself; zeros fill it up."""

    alignment = 1

    def __init__(self, size: int) -> None:
        self.text = f"char[{size}]"
        self.size = size

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:  # noqa: ARG002
        data = value.encode()
        if len(data) > self.size:
            raise ValueError(f"{value!r} has {len(data)} bytes, and {self.text} has room for {self.size}")
        out[at : at + self.size] = data.ljust(self.size, b"\0")

    def get(self, data: bytes, at: int, reader: Reader) -> str:  # noqa: ARG002
        return data[at : at + self.size].split(b"\0", 1)[0].decode(errors="replace")


class Text(Kind):
    """Text of any length, which lies behind the value."""

    text, size, alignment = "text", 8, 4

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:
        data = value.encode()
        place = writer.reserve(len(data), 1)
        out[place : place + len(data)] = data
        _REFERENCE.pack_into(out, at, place, len(data))

    def get(self, data: bytes, at: int, reader: Reader) -> str:
        place, length = _REFERENCE.unpack_from(data, at)
        reader.check(place, length, 1, 1)
        return reader.payload[place : place + length].decode(errors="replace")


class Bytes(Kind):
    """Bytes of any length."""

    text, size, alignment = "list<u8>", 8, 4

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:
        data = bytes(value) if not isinstance(value, int) else b""
        if isinstance(value, (int, str)):
            raise TypeError(f"{value!r} is no bytes")
        place = writer.reserve(len(data), 1)
        out[place : place + len(data)] = data
        _REFERENCE.pack_into(out, at, place, len(data))

    def get(self, data: bytes, at: int, reader: Reader) -> bytes:
        place, length = _REFERENCE.unpack_from(data, at)
        reader.check(place, length, 1, 1)
        return reader.payload[place : place + length]


def _put_elements(element: Kind, out: bytearray, at: int, values: Any, writer: Writer) -> None:
    if isinstance(element, Number):
        struct.pack_into(f"<{len(values)}{element.code}", out, at, *values)
        return
    for i, value in enumerate(values):
        element.put(out, at + i * element.size, value, writer)


def _get_elements(element: Kind, data: bytes, at: int, count: int, reader: Reader) -> list[Any]:
    if isinstance(element, Number):
        return list(struct.unpack_from(f"<{count}{element.code}", data, at))
    return [element.get(data, at + i * element.size, reader) for i in range(count)]


class List(Kind):
    """Elements of any number, which lie behind the value."""

    size, alignment = 8, 4

    def __init__(self, element: Kind) -> None:
        self.text = f"list<{element.text}>"
        self._element = element

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:
        values = list(value)
        place = writer.reserve(len(values) * self._element.size, self._element.alignment)
        _REFERENCE.pack_into(out, at, place, len(values))
        _put_elements(self._element, out, place, values, writer)

    def get(self, data: bytes, at: int, reader: Reader) -> list[Any]:
        place, count = _REFERENCE.unpack_from(data, at)
        reader.check(place, count, self._element.size, self._element.alignment)
        return _get_elements(self._element, reader.payload, place, count, reader)


class FixedArray(Kind):
    """A given number of elements in the struct itself."""

    def __init__(self, element: Kind, count: int) -> None:
        base, _, extents = element.text.partition("[")  # T[2][3] is two of three
        self.text = f"{base}[{count}]" + (f"[{extents}" if extents else "")
        self.size, self.alignment = element.size * count, element.alignment
        self._element, self._count = element, count

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:
        values = list(value)
        if len(values) != self._count:
            raise ValueError(f"{len(values)} elements, and {self.text} has {self._count}")
        _put_elements(self._element, out, at, values, writer)

    def get(self, data: bytes, at: int, reader: Reader) -> list[Any]:
        return _get_elements(self._element, data, at, self._count, reader)


_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_LETTERS = {code: letter for letter, code in _CODES.items()}


def is_ndarray(of: Any) -> bool:
    """Whether a type is NumPy's, which is not imported for that."""
    return getattr(of, "__module__", "") == "numpy" and getattr(of, "__name__", "") == "ndarray"


def check_array(array: Any) -> None:
    """Raises ValueError: a tensor cannot be of this kind."""
    if array.dtype.kind not in _CODES or not array.dtype.isnative or array.ndim > _MOST_DIMENSIONS:
        raise ValueError(f"an array of {array.dtype} and {array.ndim} dimensions cannot be sent as a tensor")


def put_tensor(out: bytearray | memoryview, at: int, array: Any, place: int) -> None:
    """Writes the 128 bytes that say what lies at ``place``: the elements of an array, in C order."""
    code, bits = _CODES[array.dtype.kind], array.dtype.itemsize * 8
    _TENSOR_HEAD.pack_into(out, at, code, bits, 1, array.ndim, place)
    struct.pack_into(f"<{array.ndim}I", out, at + 32, *array.shape)
    steps, step = [], 1
    for extent in reversed(array.shape):
        steps.append(step)
        step *= extent
    struct.pack_into(f"<{array.ndim}q", out, at + 64, *reversed(steps))


class Array(Kind):
    """A NumPy array; None: it was not set."""

    text, size, alignment = "tensor", _TENSOR_BYTES, 8

    def put(self, out: bytearray, at: int, value: Any, writer: Writer) -> None:
        if value is None:
            return
        import numpy as np

        array = np.asarray(value)
        check_array(array)
        place = writer.reserve(array.nbytes, _TENSOR_ALIGNMENT)
        out[place : place + array.nbytes] = array.tobytes()
        put_tensor(out, at, array, place)

    def get(self, data: bytes, at: int, reader: Reader) -> Any:
        code, bits, lanes, dimensions, place = _TENSOR_HEAD.unpack_from(data, at)
        if (code, bits, lanes, dimensions) == (0, 0, 0, 0):
            return None
        if dimensions > _MOST_DIMENSIONS or lanes != 1 or bits % 8 or not bits or code not in _LETTERS:
            raise MalformedError("a tensor of a kind that NumPy does not have")
        import numpy as np

        shape = struct.unpack_from(f"<{dimensions}I", data, at + 32)
        strides = struct.unpack_from(f"<{dimensions}q", data, at + 64)
        try:
            dtype = np.dtype(f"{_LETTERS[code]}{bits // 8}")
        except TypeError:
            raise MalformedError("a tensor of a kind that NumPy does not have") from None
        low = high = 0
        for extent, stride in zip(shape, strides, strict=True):
            low += min(0, (extent - 1) * stride)
            high += max(0, (extent - 1) * stride)
        if 0 in shape:
            return np.empty(shape, dtype)
        length = len(reader.payload)
        if place + low * dtype.itemsize < 0 or place + (high + 1) * dtype.itemsize > length or place % dtype.alignment:
            raise MalformedError("a tensor reaches beyond the message")
        steps = tuple(stride * dtype.itemsize for stride in strides)
        return np.ndarray(shape, dtype, reader.payload, place, steps)

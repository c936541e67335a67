"""Dataclasses as types of messages: the schema's text of each, and how its values become payloads and back."""

from __future__ import annotations

import dataclasses
import functools
import struct
import typing
from typing import Any, Generic, TypeVar, get_args, get_origin

from . import _kinds, fields
from ._errors import MalformedError, UsageError

T = TypeVar("T")

_NUMBERS = {
    "i8": "b",
    "i16": "h",
    "i32": "i",
    "i64": "q",
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}


class _Struct(_kinds.Kind):
    """A dataclass."""

    def __init__(self, of: type[Any]) -> None:
        self._of = of
        self._fields: list[tuple[str, _kinds.Kind, int]] = []
        hints = typing.get_type_hints(of, include_extras=True)
        at, self.alignment = 0, 1
        for field in dataclasses.fields(of):
            try:
                kind = kind_of(hints[field.name])
            except UsageError as error:
                raise UsageError(f"{of.__name__}.{field.name}: {error}") from None
            at = -(-at // kind.alignment) * kind.alignment
            self._fields.append((field.name, kind, at))
            at += kind.size
            self.alignment = max(self.alignment, kind.alignment)
        if not self._fields:
            raise UsageError(f"{of.__name__} has no fields")
        self.size = -(-at // self.alignment) * self.alignment
        inner = "; ".join(f"{name} {kind.text} @{place}" for name, kind, place in self._fields)
        self.text = f"{of.__name__}{{{inner}}}{self.size}"

    def put(self, out: bytearray, at: int, value: Any, writer: _kinds.Writer) -> None:
        if not isinstance(value, self._of):
            raise TypeError(f"{value!r} is no {self._of.__name__}")
        for name, kind, place in self._fields:
            try:
                kind.put(out, at + place, getattr(value, name), writer)
            except UsageError:
                raise
            except (TypeError, ValueError, AttributeError, struct.error) as error:
                raise UsageError(f"{self._of.__name__}.{name} ({kind.text}): {error}") from None

    def get(self, data: bytes, at: int, reader: _kinds.Reader) -> Any:
        return self._of(*[kind.get(data, at + place, reader) for _, kind, place in self._fields])


def _annotated(of: Any, marks: tuple[Any, ...]) -> _kinds.Kind:
    for mark in marks:
        if isinstance(mark, fields.Scalar):
            return _kinds.Number(mark.kind, _NUMBERS[mark.kind])
        if isinstance(mark, fields.Chars):
            return _kinds.CharArray(mark.size)
        if isinstance(mark, fields.Fixed):
            inner = get_args(of)
            if get_origin(of) is not list or not inner:
                raise UsageError("Fixed() stands on a list[...]")
            return _kinds.FixedArray(kind_of(inner[0]), mark.size)
        if isinstance(mark, fields._Array):  # noqa: SLF001
            return _kinds.Array()
    return kind_of(of)


@functools.cache
def kind_of(annotation: Any) -> _kinds.Kind:
    """Of a field's annotation. Raises UsageError for what cannot travel."""
    simple: dict[Any, Any] = {bool: _kinds.Truth, str: _kinds.Text, bytes: _kinds.Bytes}
    if annotation in simple:
        kind: _kinds.Kind = simple[annotation]()
        return kind
    if annotation is int:
        return _kinds.Number("i64", "q")
    if annotation is float:
        return _kinds.Number("f64", "d")
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return _annotated(inner[0], inner[1:])
    if origin is list and inner:
        return _kinds.List(kind_of(inner[0]))
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _Struct(annotation)
    if _kinds.is_ndarray(origin or annotation):
        return _kinds.Array()
    raise UsageError(
        f"{annotation!r} cannot travel in a message: choose bool, int, float, str, bytes, list[...], numpy.ndarray, a "
        "dataclass, or one of ipcq.fields"
    )


class Schema(Generic[T]):
    """A type of messages: a dataclass, or another type that a field may have.

    Attributes:
        text: What queues and C++ programs call it (``ipcq/schema.hpp``).
        size: Of the value in bytes, without what its lists, text and tensors refer to.
    """

    def __init__(self, of: type[T]) -> None:
        self._kind: _kinds.Kind = kind_of(typing.cast("Any", of))
        self.text = self._kind.text
        self.size = self._kind.size

    def encode(self, value: T) -> bytes:
        """The payload of a message that has this value. Raises UsageError, which names the field that cannot be."""
        writer = _kinds.Writer(self.size)
        try:
            self._kind.put(writer.out, 0, value, writer)
        except (TypeError, ValueError, AttributeError, struct.error) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{self.text}: {error}") from None
        return bytes(writer.out)

    def decode(self, payload: bytes, value: bytes = b"") -> T:
        """The value of a payload; ``value``: where it lies beside that, in the message's metadata.

        Raises:
            MalformedError: The message has no such value.
        """
        data = value or payload
        if len(data) < self.size:
            raise MalformedError(f"it has {len(data)} bytes, and a value {self.size}")
        result: T = self._kind.get(data, 0, _kinds.Reader(payload, self.size))
        return result


def value_in(schema: Schema[T], payload: bytes, metadata: bytes) -> T:
    """The value of a message, which lies in the metadata if these are as long. Raises MalformedError."""
    return schema.decode(payload, metadata if len(metadata) == schema.size else b"")


_made: dict[Any, Schema[Any]] = {}


def schema_of(of: type[T]) -> Schema[T]:
    """The schema of a dataclass, made once."""
    schema: Schema[T] | None = _made.get(of)
    if schema is None:
        schema = _made[of] = Schema(of)
    return schema

"""Tasks, and the commands that add them."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .._errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .._buffer_like import BufferLike

_MOST_TASKS = 256  # in one batch of a pipeline
_MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Task:
    """A task for ``Producer.add_many()``. Its attributes are what ``Producer.add()`` takes.

    Attributes:
        payload: Bytes, text (as UTF-8), or an array, whose elements they are; None: its ``fields`` alone.
        key: Of several tasks with one key only the first is added.
        key_ttl: Seconds that the key is remembered.
        delay: Seconds until it is due; None: at once.
        reply_to: Where its answer goes, too: ``list:NAME``, ``key:NAME``, ``stream:NAME`` or ``channel:NAME``.
        fields: Of the entry, beside the payload.
    """

    payload: BufferLike | str | None = None
    key: str | None = None
    key_ttl: float = 86400.0
    delay: float | None = None
    reply_to: str | None = None
    fields: Mapping[str, BufferLike | str | float] | None = None


class Addition(NamedTuple):
    """How a task is added: by the script ``add``, or, without keys, by XADD."""

    keys: list[str]
    arguments: list[Any]

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(len(argument) for argument in self.arguments if isinstance(argument, bytes))


def as_bytes(value: Any, what: str) -> bytes:
    """What has a buffer, or text; of arrays of any strides the elements in C order."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    try:
        return memoryview(value).tobytes()
    except (TypeError, ValueError):  # NumPy shows no buffer of times
        if hasattr(value, "__array_interface__"):
            return bytes(value.tobytes())
    raise TypeError(f"{what} is bytes, text or an array, not {type(value).__name__}")


def _value(value: Any, name: str) -> bytes:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value).encode()
    return as_bytes(value, f"a task's field '{name}'")


def _milliseconds(seconds: float, what: str, least: int) -> int:
    if not (seconds >= 0 and math.isfinite(seconds)):
        raise UsageError(f"{what} is {seconds!r}: give seconds, 0 or more")
    return max(least, math.ceil(seconds * 1000))


def _fields_of(task: Task, payload_field: str) -> list[Any]:
    fields: list[Any] = []
    if task.payload is not None:
        fields += [payload_field, as_bytes(task.payload, "a task's payload")]
    for name, value in (task.fields or {}).items():
        if name.startswith("ipcq-") or name == "reply-to" or (name == payload_field and task.payload is not None):
            raise UsageError(
                f"a task's field '{name}' has a meaning of its own: 'reply-to' is reply_to=, "
                f"'{payload_field}' the payload, and 'ipcq-...' are the bridge's"
            )
        fields += [name, _value(value, name)]
    if not fields:
        raise UsageError("a task has a payload, or fields")
    if task.reply_to is not None:
        fields += ["reply-to", task.reply_to]
    return fields


def addition_of(stream: str, payload_field: str, task: Task) -> Addition:
    """What adds a task, checked."""
    fields = _fields_of(task, payload_field)
    if task.reply_to is not None:
        kind, _, name = task.reply_to.partition(":")
        if kind not in ("list", "key", "stream", "channel") or not name:
            raise UsageError(
                f"reply_to: {task.reply_to!r} names no place: write list:NAME, key:NAME, stream:NAME or channel:NAME"
            )
    delay = 0 if task.delay is None else _milliseconds(task.delay, "delay", 0)
    if task.key is None and delay == 0:
        return Addition([], ["XADD", stream, "*", *fields])
    keys = [stream, f"{stream}:delayed"]
    if task.key is not None:
        if not task.key:
            raise UsageError("a task's key is empty")
        keys.append(f"{stream}:added:{task.key}")
    later = [delay, uuid.uuid4().hex] if delay else ["", ""]  # the id that a task has before it is an entry
    return Addition(keys, [_milliseconds(task.key_ttl, "key_ttl", 1), *later, *fields])


def batches_of(stream: str, payload_field: str, tasks: Iterable[Any]) -> Iterator[list[Addition]]:
    """What adds tasks, or payloads, in batches of a bounded size."""
    batch: list[Addition] = []
    size = 0
    for task in tasks:
        batch.append(addition_of(stream, payload_field, task if isinstance(task, Task) else Task(task)))
        size += batch[-1].size
        if len(batch) == _MOST_TASKS or size >= _MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

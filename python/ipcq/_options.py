"""The options of queues and pools, by keyword. ``ipcq/options.hpp`` says all about each."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from . import _core
from ._errors import UsageError
from ._sizes import parse_size
from .handlers._base import Handler

if TYPE_CHECKING:
    from os import PathLike

Wait = Literal["spin", "hybrid", "sleep"]


@dataclass(frozen=True)
class Group:
    """A declared consumer group, which keeps its messages while it has no member.

    Attributes:
        name: Of the group.
        policy: ``must``: the queue's backpressure applies to its lag. ``lossy``: no producer waits for it; the oldest
            messages are skipped instead, and counted.
        paused: It begins so: its members take nothing before ``resume()`` of it.
    """

    name: str = "default"
    policy: Literal["must", "lossy"] = "must"
    paused: bool = False


class ServerOptions(TypedDict, total=False):
    """Options of ``Session.server()``."""

    wait: Wait
    """How it waits: ``hybrid`` (20 us of spinning, then sleep) by default, ``sleep`` or ``spin``."""
    wait_for: float | None
    """Seconds to wait for the queue to appear; None: no limit; 0, the default: not at all."""


class ProducerOptions(ServerOptions, total=False):
    """Options of ``Session.producer()``."""


class ConsumerOptions(ServerOptions, total=False):
    """Options of ``Session.consumer()``."""

    group: str
    """Its group, ``default`` by default: a declared one, or an ephemeral one of that name."""
    until_end: bool
    """False: it waits for the next stream at the end of one, instead of raising EndOfStream."""
    lossy: bool
    """Makes its ephemeral group lossy: it loses the oldest messages, and never holds up producers."""


class ClientOptions(ServerOptions, total=False):
    """Options of ``Session.client()``."""

    reply_bytes: int
    """Longest reply in bytes that it expects."""
    needs_server: bool
    """A call that no server has raises NoServer, instead of waiting for one."""


class PoolOptions(TypedDict, total=False):
    """Options of ``create_pool()``: slots that several queues share."""

    slots: int
    """Number of slots, 64 by default."""
    slot_bytes: int | str
    """Payload capacity of a slot: bytes, or text such as ``"64KiB"`` or ``"4k-rgb"``; 4096 by default."""
    backend: Literal["auto", "host", "cuda"]
    """Where payloads lie. ``auto``, the default: on a GPU if there is one and the queue has a handler."""
    device: int
    """Number of the GPU, as CUDA counts them; 0 by default."""
    mirror: Literal["none", "full"]
    """On a GPU: whether each slot has a copy in pinned memory, for the CPU; ``full`` by default."""
    metadata: int
    """Bytes that a message may have beside its payload, up to 4096; 128 by default, for the shape of an array."""


class QueueOptions(PoolOptions, total=False):
    """Options of ``create()``."""

    pool: str
    """An existing pool to share, instead of slots of the queue's own."""
    lines: int
    """Messages that may wait."""
    line: int
    """Size of a line in bytes: a message of at most line - 32 bytes needs no slot."""
    batch: Literal["messages", "records"]
    """``records``: what ``send_many()`` is given travels together, many in a slot."""
    handler: str | PathLike[str] | Handler
    """Applied in place to every message: a name of ``handler_names()``, the path of a file of your own, or what
    ``ipcq.handler`` has made."""
    defines: Sequence[str]
    """Macros for the handler's source file, ``NAME`` or ``NAME=VALUE``."""
    includes: Sequence[str]
    """Folders of headers for it, beside its own."""
    quick_start: bool
    """On a GPU: whether it may begin with an image that is made quickly; True by default."""
    handler_deadline: float
    """Seconds that a handler of your own may work on a message; 0: any time."""
    state_bytes: int
    """Memory of a handler that takes a state, up to 1 TiB; 0, the default: none."""
    state_file: str | PathLike[str]
    """File with which the state begins, of at most ``state_bytes``; zeros by default."""
    isolate: bool
    """The handler has a runner process of its own; False by default."""
    host_readable: bool
    """On a GPU: whether what is processed is copied to the mirror; True by default."""
    executor: Literal["auto", "persistent", "stream"]
    """On a GPU: which kind of executor calls the handler; ``auto`` by default."""
    threads: int
    """Of the handler's host executor, 1 to 256; 1 by default."""
    wait: Wait
    """How the threads of the handler's host executor wait."""
    backpressure: Literal["block", "reject", "drop-oldest"]
    """What a producer does where there is no room: it waits by default."""
    groups: Iterable[str | Group]
    """Durable groups; ``default`` by default."""
    paused: bool
    """It begins so: nothing leaves it before ``resume()``; False by default."""
    endpoints: int
    """Producers and consumers open at once, 64 by default."""
    held: int
    """Messages that one consumer may hold at once, 128 by default."""
    calls: int
    """Makes it a queue of calls: how many calls of one client may be open at once."""
    on_server_death: Literal["fail", "redeliver"]
    """Of calls whose server dies: they raise ServerDied by default, or go to another server."""
    schema: str
    """Type of its messages, as text (docs/guide/types.md)."""
    result_schema: str
    """Type of what its handler makes of them, or of replies, as text."""


_METADATA_OF_ARRAYS = 128

# Keys of ipcq-broker and what they are here, and words that look like another option than the one that is meant.
_MEANT = {
    "size": "slot_bytes",
    "slot_size": "slot_bytes",
    "state": "state_bytes",
    "define": "defines",
    "include": "includes",
    "group": "groups",
}


def _set(
    options: _core.PoolOptions | _core.QueueOptions, values: Mapping[str, Any], known: Mapping[str, Any], what: str
) -> None:
    for key, value in values.items():
        if key not in known:
            close = [_MEANT[key]] if _MEANT.get(key) in known else difflib.get_close_matches(key, list(known), 1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"
            raise UsageError(f"{what}: there is no option '{key}'{hint}")
        try:
            if key == "slot_bytes":
                options.size = parse_size(value, f"{what}, slot_bytes")
            elif key in ("handler", "state_file"):
                setattr(options, key, os.fspath(value))
            elif key == "groups":
                setattr(options, key, _groups(value))
            elif key in ("defines", "includes"):
                setattr(options, key, [os.fspath(v) for v in _list_of(value)])
            else:
                setattr(options, key, value)
        except TypeError:
            hint = "; put @ipcq.handler on the function" if key == "handler" and callable(value) else ""
            raise UsageError(
                f"{what}, {key}: {value!r} is no value of this option: {_kind(known[key])} is expected{hint}"
            ) from None


def _kind(annotation: Any) -> str:
    return str(getattr(annotation, "__forward_arg__", annotation))


def _list_of(value: Any) -> list[Any]:
    if isinstance(value, (str, bytes)):
        raise TypeError
    return list(value)


def _groups(value: Any) -> list[_core.GroupOptions]:
    groups = [Group(g) if isinstance(g, str) else g for g in _list_of(value)]
    if not all(isinstance(g, Group) for g in groups):
        raise TypeError
    return [_core.GroupOptions(g.name, g.policy, g.paused) for g in groups]


def pool_options(pool: str, values: PoolOptions) -> _core.PoolOptions:
    """Options of a pool, checked as far as that can be done without a broker."""
    options = _core.PoolOptions()
    options.metadata = _METADATA_OF_ARRAYS
    _set(options, values, PoolOptions.__annotations__, f"pool '{pool}'")
    return options


def queue_options(queue: str, values: QueueOptions) -> _core.QueueOptions:
    """Options of a queue, checked as far as that can be done without a broker."""
    options = _core.QueueOptions()
    has_slots = values.get("slots") != 0 and "pool" not in values
    options.metadata = _METADATA_OF_ARRAYS if has_slots else 0
    known = {**PoolOptions.__annotations__, **QueueOptions.__annotations__}
    handler = values.get("handler")
    if isinstance(handler, Handler):
        handler.check_state(values.get("state_bytes", 0))
        file = handler.queue_option(values.get("backend", "auto"), values.get("device", 0))
        values = {**values, "handler": file}
    _set(options, values, known, f"queue '{queue}'")
    return options

"""Message queues between processes around one GPU.

A broker owns queues; producers and consumers in other processes pass messages through them without a copy.

    import ipcq
    with ipcq.Broker() as broker, ipcq.connect() as session:
        broker.create("frames", slots=8, slot_bytes="64KiB")
        producer, consumer = session.producer("frames"), session.consumer("frames")
        producer.send(b"tick")
        with consumer.receive(timeout=1) as message:
            print(bytes(message))

The guide is docs/guide/python.md.
"""

from __future__ import annotations

import atexit as _atexit
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import _core, fields, handlers
from ._broker import (
    Broker,
    BrokerEntry,
    create_pool,
    create_queue,
    drain,
    dump,
    end_of_stream,
    list_brokers,
    pause,
    remove_pool,
    remove_queue,
    resume,
    stats,
)
from ._buffers import BufferPool, BufferPoolStats
from ._client import Call, Client
from ._consumer import Consumer
from ._core import Buffer, BufferState, DeviceView, HostView, Loan, Message, Request, handler_names
from ._device import DeviceConsumer, DeviceProducer
from ._errors import (
    ActorError,
    BackendError,
    CallError,
    CallFailed,
    Cancelled,
    ClosedError,
    Empty,
    EndOfStream,
    Error,
    Expired,
    Full,
    InterruptedError,
    LayoutError,
    MalformedError,
    NoServer,
    NotFoundError,
    PeerDeadError,
    PermissionError,
    ServerDied,
    Status,
    StatusError,
    SystemError,
    TimeoutError,
    UsageError,
)
from ._options import Group
from ._producer import Producer
from ._progress import Progress, progress
from ._schemas import Schema
from ._server import Failure, Server
from ._session import Session, connect
from ._stats import BrokerStats, EndpointStats, GroupStats, QueueStats
from ._system import BuildInfo, Device, build_info, device, devices
from ._typed import TypedConsumer, TypedProducer
from ._typed_calls import TypedCall, TypedClient, TypedServer
from .handlers import Handler, handler

if _TYPE_CHECKING:
    from . import redis
    from .actors import ActorRef, ActorRuntime, ActorState, ActorTelemetry, actor, actor_ref

if _TYPE_CHECKING or _core.has_cuda:
    from ._core import DeviceLoan, DeviceMessage

__version__: str = _core.library_version
"""Of libipcq and of this package."""

__all__ = [
    "ActorError",
    "ActorRef",
    "ActorRuntime",
    "ActorState",
    "ActorTelemetry",
    "BackendError",
    "Broker",
    "BrokerEntry",
    "BrokerStats",
    "Buffer",
    "BufferPool",
    "BufferPoolStats",
    "BufferState",
    "BuildInfo",
    "Call",
    "CallError",
    "CallFailed",
    "Cancelled",
    "Client",
    "ClosedError",
    "Consumer",
    "Device",
    "DeviceConsumer",
    "DeviceProducer",
    "DeviceView",
    "Empty",
    "EndOfStream",
    "EndpointStats",
    "Error",
    "Expired",
    "Failure",
    "Full",
    "Group",
    "GroupStats",
    "Handler",
    "HostView",
    "InterruptedError",
    "LayoutError",
    "Loan",
    "MalformedError",
    "Message",
    "NoServer",
    "NotFoundError",
    "PeerDeadError",
    "PermissionError",
    "Producer",
    "Progress",
    "QueueStats",
    "Request",
    "Schema",
    "Server",
    "ServerDied",
    "Session",
    "Status",
    "StatusError",
    "SystemError",
    "TimeoutError",
    "TypedCall",
    "TypedClient",
    "TypedConsumer",
    "TypedProducer",
    "TypedServer",
    "UsageError",
    "__version__",
    "actor",
    "actor_ref",
    "build_info",
    "connect",
    "create_pool",
    "create_queue",
    "device",
    "devices",
    "drain",
    "dump",
    "end_of_stream",
    "fields",
    "handler",
    "handler_names",
    "handlers",
    "list_brokers",
    "pause",
    "progress",
    "redis",
    "remove_pool",
    "remove_queue",
    "resume",
    "stats",
]


if _core.has_cuda:
    __all__ += ["DeviceLoan", "DeviceMessage"]


def __getattr__(name: str) -> object:
    """What costs time to import, and not every program needs: actors, with multiprocessing; the bridge to Redis."""
    import importlib

    if name == "redis":
        return importlib.import_module(".redis", __name__)
    if name in ("ActorRef", "ActorRuntime", "ActorState", "ActorTelemetry", "actor", "actor_ref", "actors"):
        module = importlib.import_module(".actors", __name__)
        return module if name == "actors" else getattr(module, name)
    raise AttributeError(f"module 'ipcq' has no attribute '{name}'")


@_atexit.register
def _close_all() -> None:
    """What is open when the interpreter ends is closed. Streams do not end by it: nothing says that all was sent."""
    _core._close_all()  # noqa: SLF001

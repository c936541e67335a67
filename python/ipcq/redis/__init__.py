"""Redis in front of a queue of calls: the bridge ``ipcq-redis`` as a child process, and what its producers need.

    import ipcq.redis, redis

    client = redis.Redis()
    with ipcq.redis.Bridge("work", streams=["tasks"]):
        print(ipcq.redis.call(client, "tasks", b"hello", timeout=5))

``Bridge`` needs no client library. The others take clients of the package ``redis`` (redis-py 5 or later: ``pip install
'ipcq[redis]'``), or of ``redis.asyncio`` where they are ``async``; whether a client decodes responses does not matter.
What goes wrong in such a client, or in the server, is raised as ``redis.RedisError``. docs/guide/redis.md says what is
promised.
"""

from __future__ import annotations

from ._bridge import Bridge
from ._calls import call, call_async
from ._dead_letters import DeadLetter, dead_letters, dead_letters_async, requeue, requeue_async
from ._errors import BridgeError, TaskDead
from ._options import BridgeOptions
from ._producer import AsyncProducer, Producer
from ._reports import Counters, SourceSizes, Summary
from ._results import Result, results, results_async
from ._tasks import Task

__all__ = [
    "AsyncProducer",
    "Bridge",
    "BridgeError",
    "BridgeOptions",
    "Counters",
    "DeadLetter",
    "Producer",
    "Result",
    "SourceSizes",
    "Summary",
    "Task",
    "TaskDead",
    "call",
    "call_async",
    "dead_letters",
    "dead_letters_async",
    "requeue",
    "requeue_async",
    "results",
    "results_async",
]

"""A task, and the wait for its answer."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from .._errors import Status, TimeoutError
from .._waits import remaining
from ._clients import UNDECODED, async_client, block_seconds, sync_client, text_of
from ._errors import TaskDead
from ._producer import AsyncProducer, Producer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    from .._buffer_like import BufferLike


def _reply_key(stream: str) -> str:
    """Begins with the stream's name: so it lies on the same node of a cluster, and under the same rule of an ACL."""
    return f"{stream}:reply:{uuid.uuid4().hex}"


def _look(client: Any, key: str, left: float | None) -> tuple[Any, ...]:
    """The command that shows the reply, and leaves it in its list: the connection may fail before it has passed it."""
    if left == 0:
        return ("LMOVE", key, key, "LEFT", "RIGHT")
    return ("BLMOVE", key, key, "LEFT", "RIGHT", f"{block_seconds(client, left):.3f}")


def _result(reply: bytes) -> bytes:
    head, _, body = reply.partition(b"\n")
    status, _, id = head.partition(b" ")
    if status != b"ok":
        raise TaskDead(text_of(body), text_of(id))
    return body


def _expired(stream: str, task: str, timeout: float | None) -> TimeoutError:
    return TimeoutError(f"stream '{stream}': task {task} has no answer within {timeout} s; it goes on", Status.TIMEOUT)


def call(
    client: Redis,
    stream: str,
    payload: BufferLike | str | None,
    timeout: float | None = None,
    *,
    fields: Mapping[str, BufferLike | str | float] | None = None,
    field: str = "payload",
) -> bytes:
    """Adds a task to a stream, and waits for its result, which it returns.

    Its answer goes to a list of its own, ``STREAM:reply:...``, beside the results. A task that has several results
    answers with all of them, one behind the other. One whose bridge dies is worked on again, after ``claim_after``.

    Args:
        client: Of redis-py. One of its connections is in use as long as the call.
        stream: That bridges take tasks from.
        payload: As of ``Producer.add()``.
        timeout: Seconds; None: without limit.
        fields: As of ``Producer.add()``.
        field: Of an entry, which holds the payload.

    Raises:
        TaskDead: The task went to the dead letters.
        TimeoutError: There is no answer in time. The task goes on, and its answer is deleted after ``result_ttl``.
    """
    redis = sync_client(client)
    expires = None if timeout is None else time.monotonic() + timeout
    reply = _reply_key(stream)
    id = Producer(client, stream, field=field).add(payload, reply_to=f"list:{reply}", fields=fields)
    while True:
        left = remaining(expires)
        answer = redis.execute_command(*_look(redis, reply, left), **UNDECODED)
        if answer is not None:
            redis.execute_command("UNLINK", reply)
            return _result(answer)
        if left == 0:
            raise _expired(stream, id, timeout)


async def call_async(
    client: AsyncRedis,
    stream: str,
    payload: BufferLike | str | None,
    timeout: float | None = None,
    *,
    fields: Mapping[str, BufferLike | str | float] | None = None,
    field: str = "payload",
) -> bytes:
    """``call()`` for event loops. A task of the loop that is cancelled in it leaves the task of the stream as it is."""
    redis = async_client(client)
    expires = None if timeout is None else time.monotonic() + timeout
    reply = _reply_key(stream)
    id = await AsyncProducer(client, stream, field=field).add(payload, reply_to=f"list:{reply}", fields=fields)
    while True:
        left = remaining(expires)
        answer = await redis.execute_command(*_look(redis, reply, left), **UNDECODED)
        if answer is not None:
            await redis.execute_command("UNLINK", reply)
            return _result(answer)
        if left == 0:
            raise _expired(stream, id, timeout)

"""Adding tasks to a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._clients import async_client, script_of, sync_client, text_of
from ._tasks import Addition, Task, addition_of, batches_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    from .._buffer_like import BufferLike


def _id_of(addition: Addition, answer: Any) -> str:
    return text_of(answer[0] if addition.keys else answer)


class Producer:
    """Adds tasks to a stream, from which bridges take them.

    Args:
        client: Of redis-py. The producer does not close it. May be used by several threads, as the client may.
        stream: Name of the stream.
        field: Of an entry, which holds the payload: ``field`` of the bridge.

    Raises:
        TypeError: The client is none of ``redis.Redis``.
    """

    def __init__(self, client: Redis, stream: str, *, field: str = "payload") -> None:
        self._client = sync_client(client)
        self._stream = stream
        self._field = field
        self._add = script_of(client, "add")

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self._stream

    def add(
        self,
        payload: BufferLike | str | None,
        *,
        key: str | None = None,
        key_ttl: float = 86400.0,
        delay: float | None = None,
        reply_to: str | None = None,
        fields: Mapping[str, BufferLike | str | float] | None = None,
    ) -> str:
        """Adds a task, and returns its id, which its result and its dead letter name. Waits for the server's answer.

        Where the connection fails in the call, nobody knows whether the task was added, and redis-py may send it twice
        by itself. With a ``key`` it is added once, however often and by whomever it is sent: repeat the call.

        Args:
            payload: Bytes, text (as UTF-8), or an array, whose elements they are; None: ``fields`` alone, where the
                bridge has a ``template``, or a field ``payload-key`` names the key of a large payload.
            key: Of several tasks with one key only the first is added; the calls for the others return its id. It is
                remembered in ``STREAM:added:KEY``.
            key_ttl: Seconds that the key is remembered.
            delay: Seconds until the task is due; None or 0: at once. It waits in ``STREAM:delayed``, from where a
                bridge moves it into the stream, within its ``poll``.
            reply_to: Where its answer goes, beside the results: ``list:NAME``, ``key:NAME``, ``stream:NAME`` or
                ``channel:NAME``.
            fields: Of the entry, beside the payload; numbers become text.

        Raises:
            UsageError: A field's name has a meaning of its own, a number is negative, there is nothing to add.
            TypeError: A payload or field is neither bytes, text nor an array.
        """
        addition = addition_of(self._stream, self._field, Task(payload, key, key_ttl, delay, reply_to, fields))
        return _id_of(addition, self._send(addition, self._client))

    def add_many(self, tasks: Iterable[BufferLike | str | Task]) -> list[str]:
        """Adds tasks in batches, and returns their ids in order: payloads, or ``Task`` where there is more to say.

        An exception may leave tasks added. Those with keys can be added again without harm.

        Raises:
            UsageError, TypeError: As ``add()``; batches before the wrong task were added.
        """
        ids: list[str] = []
        for batch in batches_of(self._stream, self._field, tasks):
            with self._client.pipeline(transaction=False) as pipe:
                for addition in batch:
                    self._send(addition, pipe)
                ids += map(_id_of, batch, pipe.execute())
        return ids

    def _send(self, addition: Addition, client: Any) -> Any:
        if addition.keys:
            return self._add(keys=addition.keys, args=addition.arguments, client=client)
        return client.execute_command(*addition.arguments)


class AsyncProducer:
    """``Producer`` for event loops: ``await`` its calls.

    Args:
        client: Of ``redis.asyncio``. The producer does not close it.
        stream: Name of the stream.
        field: Of an entry, which holds the payload: ``field`` of the bridge.

    A task that is cancelled in a call may have added what it was to add.

    Raises:
        TypeError: The client is none of ``redis.asyncio.Redis``.
    """

    def __init__(self, client: AsyncRedis, stream: str, *, field: str = "payload") -> None:
        self._client = async_client(client)
        self._stream = stream
        self._field = field
        self._add = script_of(client, "add")

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self._stream

    async def add(
        self,
        payload: BufferLike | str | None,
        *,
        key: str | None = None,
        key_ttl: float = 86400.0,
        delay: float | None = None,
        reply_to: str | None = None,
        fields: Mapping[str, BufferLike | str | float] | None = None,
    ) -> str:
        """``Producer.add()``."""
        addition = addition_of(self._stream, self._field, Task(payload, key, key_ttl, delay, reply_to, fields))
        return _id_of(addition, await self._send(addition, self._client))

    async def add_many(self, tasks: Iterable[BufferLike | str | Task]) -> list[str]:
        """``Producer.add_many()``."""
        ids: list[str] = []
        for batch in batches_of(self._stream, self._field, tasks):
            async with self._client.pipeline(transaction=False) as pipe:
                for addition in batch:
                    await self._send(addition, pipe)
                ids += map(_id_of, batch, await pipe.execute())
        return ids

    async def _send(self, addition: Addition, client: Any) -> Any:
        if addition.keys:
            return await self._add(keys=addition.keys, args=addition.arguments, client=client)
        return await client.execute_command(*addition.arguments)

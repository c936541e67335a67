"""Results, as they come."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import UsageError
from .._waits import remaining
from ._clients import UNDECODED, async_client, block_seconds, entries_of, sync_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

_PAGE = 100  # results that are asked for at once


@dataclass(frozen=True)
class Result:
    """A result of a task.

    Attributes:
        id: Of the task, as ``Producer.add()`` has returned it.
        result: The bytes; None: they stood in a key of their own, which has expired (``result_ttl`` of the bridge).
        part: Counts from 1, where a task has several results.
        entry: Of the stream of results: give it as ``since`` to go on behind this one.
    """

    id: str
    result: bytes | None
    part: int
    entry: str


class _Place:
    """How far the results were read, and until when others are waited for."""

    def __init__(
        self, client: Any, stream: str, since: str, follow: bool, timeout: float | None, key: str | None
    ) -> None:
        if since != "$" and not re.fullmatch(r"\d+(-\d+)?", since):
            raise UsageError(f"since is {since!r}: give an entry's id, 0 (from the first on) or $ (new ones alone)")
        self.key = key or f"{stream}:results"
        self.last = since
        self._client = client
        self._follow = follow
        self._timeout = timeout
        self._expires: float | None = None

    def newest(self) -> tuple[Any, ...]:
        return ("XREVRANGE", self.key, "+", "-", "COUNT", 1)

    def begin(self, newest: Any) -> None:
        self.last = next((entry for entry, _ in entries_of(newest)), "0")

    def page(self) -> tuple[Any, ...]:
        return ("XRANGE", self.key, f"({self.last}", "+", "COUNT", _PAGE)

    def wait(self) -> tuple[Any, ...] | None:
        """The command that waits for something behind the last entry; None: that is all."""
        if not self._follow:
            return None
        if self._expires is None and self._timeout is not None:
            self._expires = time.monotonic() + self._timeout
        left = remaining(self._expires)
        if left == 0:
            return None
        block = int(1000 * block_seconds(self._client, left))
        return ("XREAD", "BLOCK", block, "COUNT", 1, "STREAMS", self.key, self.last)

    def came(self) -> None:
        """A result: the time until the next one begins anew."""
        self._expires = None


def _result(entry: str, fields: dict[str, bytes], result: bytes | None) -> Result:
    return Result(fields.get("id", b"").decode(errors="surrogateescape"), result, int(fields.get("part", 1)), entry)


def results(
    client: Redis,
    stream: str,
    *,
    since: str = "0",
    follow: bool = True,
    timeout: float | None = None,
    key: str | None = None,
) -> Iterator[Result]:
    """Yields the results of a stream's tasks in the order in which they were written, and waits for more.

    Nothing is taken away by it: any number of readers see all results, also when bridges end and begin. A connection
    that fails ends it (``redis.ConnectionError``); go on with ``since=`` the last ``entry``.

    Args:
        client: Of redis-py. One of its connections is in use during a wait.
        stream: Of the tasks.
        since: The entry behind which it begins: ``Result.entry``; ``"0"``: the first that is there; ``"$"``: new ones
            alone, from the call on.
        follow: False: it ends with the last result that is there.
        timeout: Seconds after which it ends, since nothing came; None: never.
        key: Of the results, where the bridge has ``results="stream:KEY"``.

    Raises:
        UsageError: ``since`` is no entry's id.
    """
    redis = sync_client(client)
    place = _Place(redis, stream, since, follow, timeout, key)
    if since == "$":
        place.begin(redis.execute_command(*place.newest(), **UNDECODED))
    return _iterate(redis, place)


def _iterate(redis: Any, place: _Place) -> Iterator[Result]:
    while True:
        page = redis.execute_command(*place.page(), **UNDECODED)
        for entry, fields in entries_of(page):
            place.last = entry
            result = fields.get("result")
            if "result-key" in fields:
                result = redis.execute_command("GET", fields["result-key"], **UNDECODED)
            elif result is None:
                continue  # somebody else's entry
            place.came()
            yield _result(entry, fields, result)
        if page:
            continue
        wait = place.wait()
        if wait is None:
            return
        redis.execute_command(*wait, **UNDECODED)


async def results_async(
    client: AsyncRedis,
    stream: str,
    *,
    since: str = "0",
    follow: bool = True,
    timeout: float | None = None,
    key: str | None = None,
) -> AsyncIterator[Result]:
    """``results()`` for event loops, by ``async for``. ``since="$"`` are new ones from its first step on."""
    redis = async_client(client)
    place = _Place(redis, stream, since, follow, timeout, key)
    if since == "$":
        place.begin(await redis.execute_command(*place.newest(), **UNDECODED))
    while True:
        page = await redis.execute_command(*place.page(), **UNDECODED)
        for entry, fields in entries_of(page):
            place.last = entry
            result = fields.get("result")
            if "result-key" in fields:
                result = await redis.execute_command("GET", fields["result-key"], **UNDECODED)
            elif result is None:
                continue
            place.came()
            yield _result(entry, fields, result)
        if page:
            continue
        wait = place.wait()
        if wait is None:
            return
        await redis.execute_command(*wait, **UNDECODED)

"""Dead letters: tasks that have failed for the last time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import UsageError
from ._clients import UNDECODED, async_client, entries_of, script_of, sync_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

_PAGE = 100  # entries that are asked for, or put back, at once: a script holds the server
_MOST_IDS = 1000  # in one call, which looks at all dead letters


@dataclass(frozen=True)
class DeadLetter:
    """A task that went to the dead letters.

    Attributes:
        id: Of the dead letter, for ``requeue()``.
        origin: Of the task, as ``Producer.add()`` has returned it; None: tasks of lists and sorted sets have none.
        attempt: How often it was tried; 0: it could not be.
        reason: Why it failed the last time.
        fields: Of its entry: ``payload`` and all that it was added with.
    """

    id: str
    origin: str | None
    attempt: int
    reason: str
    fields: dict[str, bytes]


def _dead_key(stream: str) -> str:
    return f"{stream}:dead"


def _page(stream: str, last: str) -> tuple[Any, ...]:
    return ("XRANGE", _dead_key(stream), f"({last}", "+", "COUNT", _PAGE)


def _letter(entry: str, fields: dict[str, bytes]) -> DeadLetter:
    def taken(name: str) -> str | None:
        value = fields.pop(name, None)
        return None if value is None else value.decode(errors="surrogateescape")

    origin, attempt, reason = taken("ipcq-id"), taken("ipcq-attempt"), taken("ipcq-reason")
    taken("ipcq-kind")  # of a list or sorted set: which of both, for requeue()
    return DeadLetter(entry, origin, int(attempt) if attempt and attempt.isdecimal() else 0, reason or "", fields)


def dead_letters(client: Redis, stream: str) -> Iterator[DeadLetter]:
    """Yields the dead letters of a stream, of a list or of a sorted set, the oldest first. They stay where they are.

    Args:
        client: Of redis-py.
        stream: Of the tasks; its dead letters are in ``STREAM:dead``.
    """
    redis = sync_client(client)
    last = "0"
    while page := redis.execute_command(*_page(stream, last), **UNDECODED):
        for id, fields in entries_of(page):
            last = id
            yield _letter(id, fields)


async def dead_letters_async(client: AsyncRedis, stream: str) -> AsyncIterator[DeadLetter]:
    """``dead_letters()`` for event loops, by ``async for``."""
    redis = async_client(client)
    last = "0"
    while page := await redis.execute_command(*_page(stream, last), **UNDECODED):
        for id, fields in entries_of(page):
            last = id
            yield _letter(id, fields)


class _Requeue:
    """The calls of the script, one after the other."""

    def __init__(self, stream: str, ids: Iterable[str] | None, most: int | None) -> None:
        if ids is not None and most is not None:
            raise UsageError("requeue: `ids` names the dead letters, and `most` takes the oldest; give one of them")
        if most is not None and most < 0:
            raise UsageError(f"requeue: most is {most}; give 0 or more")
        self.keys = [_dead_key(stream), stream]
        self._most = most
        self._ids: list[str] | None = None
        if ids is not None:
            if isinstance(ids, (str, bytes)):
                raise UsageError("requeue: `ids` is a list of ids")
            self._ids = list(dict.fromkeys(ids))  # each once

    @property
    def counts(self) -> bool:
        """Whether it needs to know how many there are now: those that die again meanwhile are not put back again."""
        return self._ids is None and self._most is None

    def calls(self, there: int) -> Iterator[list[Any]]:
        if self._ids is not None:
            for i in range(0, len(self._ids), _MOST_IDS):
                yield [0, *self._ids[i : i + _MOST_IDS]]
            return
        left = there if self._most is None else self._most
        while left > 0:
            yield [min(left, _PAGE)]
            left -= _PAGE

    def was_last(self, arguments: list[Any], moved: int) -> bool:
        """Whether a call has found fewer than it was to put back."""
        return self._ids is None and moved < arguments[0]


def requeue(client: Redis, stream: str, ids: Iterable[str] | None = None, most: int | None = None) -> int:
    """Puts dead letters back where their tasks came from, and returns how many.

    Into a stream as new tasks, which are tried from the first attempt on and keep the ids that their results have; into
    a list, or a sorted set, with score 0.

    Args:
        client: Of redis-py.
        stream: Of the tasks; or the list or sorted set.
        ids: Which, by ``DeadLetter.id`` or ``DeadLetter.origin``. Those that are gone do not count.
        most: Or the oldest, at most so many. Without both all that are there when the call begins.

    Raises:
        UsageError: Both were given, or a text in place of a list.
    """
    redis = sync_client(client)
    plan = _Requeue(stream, ids, most)
    script = script_of(redis, "requeue")
    moved = 0
    for arguments in plan.calls(redis.execute_command("XLEN", plan.keys[0]) if plan.counts else 0):
        found = int(script(keys=plan.keys, args=arguments))
        moved += found
        if plan.was_last(arguments, found):
            break
    return moved


async def requeue_async(
    client: AsyncRedis, stream: str, ids: Iterable[str] | None = None, most: int | None = None
) -> int:
    """``requeue()`` for event loops."""
    redis = async_client(client)
    plan = _Requeue(stream, ids, most)
    script = script_of(redis, "requeue")
    moved = 0
    for arguments in plan.calls(await redis.execute_command("XLEN", plan.keys[0]) if plan.counts else 0):
        found = int(await script(keys=plan.keys, args=arguments))
        moved += found
        if plan.was_last(arguments, found):
            break
    return moved

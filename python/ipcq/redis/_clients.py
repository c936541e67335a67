"""Clients of redis-py: which kind one is, and commands whose answers stay bytes. Nothing here imports redis-py."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ._scripts import script_text

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_BLOCK = 1.0  # seconds that the server is asked to wait at a time
SHORTEST_BLOCK = 0.01  # 0 would be without limit, and servers round down
UNDECODED: dict[str, Any] = {"NEVER_DECODE": True}  # redis-py: even where the client decodes responses


def sync_client(client: Any) -> Any:
    """A client whose calls return what the server answers."""
    return _checked(client, is_async=False)


def async_client(client: Any) -> Any:
    """A client whose calls are awaited."""
    return _checked(client, is_async=True)


def _checked(client: Any, *, is_async: bool) -> Any:
    execute = getattr(type(client), "execute_command", None)
    if execute is None or inspect.iscoroutinefunction(execute) != is_async:
        wanted = "redis.asyncio.Redis" if is_async else "redis.Redis"
        raise TypeError(f"the client is a {wanted} (pip install 'ipcq[redis]'), not {type(client).__name__}")
    return client


def script_of(client: Any, name: str) -> Any:
    """A script, to be called by this client. It is loaded where the server does not know it."""
    return client.register_script(script_text(name))


def block_seconds(client: Any, left: float | None) -> float:
    """How long the server may be asked to wait: less than what the client takes for a dead connection."""
    limit = client.connection_pool.connection_kwargs.get("socket_timeout")
    longest = LONGEST_BLOCK if limit is None else min(LONGEST_BLOCK, float(limit) / 2)
    return max(SHORTEST_BLOCK, longest if left is None else min(longest, left))


def text_of(value: bytes | str) -> str:
    """What the server has answered, as text."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def entries_of(answer: Any) -> Iterable[tuple[str, dict[str, bytes]]]:
    """Entries of a stream, as XRANGE answers, by their ids."""
    for id, fields in answer:
        if fields is not None:
            yield text_of(id), {text_of(name): value for name, value in fields.items()}

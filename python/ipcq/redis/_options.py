"""Options of a bridge, as command line and environment of ``ipcq-redis``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlsplit

from .._errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike


class BridgeOptions(TypedDict, total=False):
    """Options of ``ipcq.redis.Bridge``. None is as if it was not given, where nothing else is said."""

    redis: str | None
    """The server: ``redis://[user[:password]@]host[:port][/database]``, ``unix:///path``, or what sentinels name,
    ``redis-sentinel://host[:port],.../master``; by default ``$IPCQ_REDIS_URL``, else ``redis://127.0.0.1:6379``."""
    user: str | None
    """User of the server's access control list."""
    password: str | None
    """Its password. The program gets it by its environment, which no other user can see."""
    password_file: str | PathLike[str] | None
    """Or a file with the password."""
    streams: str | Iterable[str] | None
    """``NAME[,priority=N][,weight=N]``: streams that tasks come from; by default the one of the queue's name."""
    lists: str | Iterable[str] | None
    """``NAME[,from=left|right][,priority=N][,weight=N]``: or lists."""
    sorted_sets: str | Iterable[str] | None
    """``NAME[,take=least|due][,...]``: or sorted sets."""
    group: str | None
    """Consumer group, which all bridges share; ``ipcq`` by default."""
    consumer: str | None
    """This bridge's name in the group, unlike any other's; of host and process by default."""
    results: str | None
    """``stream:NAME``, ``list:NAME``, ``channel:NAME``, ``key:PREFIX`` or ``none``; by default ``STREAM:results``."""
    field: str | None
    """Field of an entry that holds the payload; ``payload`` by default."""
    template: str | None
    """Makes the payload of several fields: text with ``{NAME}``, or ``{NAME:TYPE}`` for a number in binary."""
    inline_result: int | str | None
    """Bytes, or text such as ``"64KiB"``: larger results go to keys of their own."""
    in_flight: int | None
    """Tasks in the queue at once; what the queue takes by default."""
    batch: int | None
    """Tasks read, and results written, at once at most; 128 by default."""
    deadline: float | None
    """Seconds that a task may take in the queue; any time by default."""
    reply_bytes: int | str | None
    """Longest result: bytes, or text such as ``"4KiB"``."""
    attempts: int | None
    """How often a task is tried before it goes to the dead letters; 5 by default."""
    backoff: float | None
    """Seconds before the second attempt, twice as long before each next one; 1 by default."""
    longest_backoff: float | None
    """Seconds before an attempt at most; 60 by default."""
    claim_after: float | None
    """Seconds after which others take over what a bridge does not renew; 30 by default."""
    poll: float | None
    """Seconds between looks for delayed tasks; 0.25 by default."""
    rate: float | None
    """Tasks a second that all bridges of the first stream read together at most."""
    burst: int | None
    """Tasks that ``rate`` lets pass at once; a second's by default."""
    result_ttl: float | None
    """Seconds that results in keys, and replies in lists and keys, stay; 3600 by default."""
    trim: bool | None
    """Deletes entries that every group of the stream has acknowledged; False by default."""
    keep: float | None
    """Seconds that ``trim`` leaves entries in the stream."""
    metrics: str | None
    """``HOST:PORT`` or ``:PORT`` to serve counters for Prometheus on. By default ``$IPCQ_REDIS_METRICS``, else (and not
    what a file says) a free port of 127.0.0.1, for ``counters()``."""
    until_empty: bool | None
    """It ends when no task is left, delayed ones included; False by default."""
    broker: str | None
    """Name of the broker, or path of its socket; by default ``$IPCQ_BROKER``, else ``default``."""
    wait: Literal["spin", "hybrid", "sleep"] | None
    """How it waits for the queue; ``hybrid`` by default."""
    wait_for: float | None
    """Seconds to wait for server, broker and queue at the start; 5 by default; None: no limit."""
    config: str | PathLike[str] | None
    """TOML file of options; by default ``redis.toml`` in ``$XDG_CONFIG_HOME/ipcq``, then ``/etc/ipcq``."""
    drain_for: float | None
    """Seconds that the end of the ``with`` block waits for what runs; None, the default: as long as it takes."""
    die_with_parent: bool
    """False: the program goes on when this process dies; see ``Bridge``. True by default."""


_OWN = ("redis", "password", "drain_for", "die_with_parent")  # that are no options of the program by their names
_FLAGS = ("trim", "until_empty")
_NO_LIMIT = 1e9  # seconds
_REPEATED = {"streams": "--stream", "lists": "--list", "sorted_sets": "--sorted-set"}
# Words of the program, and others, and what they are here.
_MEANT = {"stream": "streams", "list": "lists", "sorted_set": "sorted_sets", "url": "redis", "ttl": "result_ttl"}


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    known = BridgeOptions.__annotations__
    for name in options:
        if name not in known:
            close = [_MEANT[name]] if name in _MEANT else difflib.get_close_matches(name, list(known), 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
            raise UsageError(f"bridge: there is no option '{name}'; {hint}")


def _text(name: str, value: Any) -> str:
    if isinstance(value, (str, int, float, os.PathLike)) and not isinstance(value, bool):
        return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    raise UsageError(f"bridge, {name}: {value!r} is no value of this option")


def _arguments_of(name: str, value: Any) -> list[str]:
    if name in _REPEATED:
        if not isinstance(value, Iterable):
            raise UsageError(f"bridge, {name}: {value!r} is no value of this option: give a list of names")
        names = [value] if isinstance(value, str) else list(value)
        return [f"{_REPEATED[name]}={_text(name, one)}" for one in names]
    option = f"--{name.replace('_', '-')}"
    if name in _FLAGS:
        return [option if value else f"{option}=false"]
    return [f"{option}={_text(name, value)}"]


def arguments_of(queue: str, options: Mapping[str, Any]) -> list[str]:
    """The command line behind the program's name; it holds no password.

    Raises:
        UsageError: An option that there is not, or a value of a wrong type. What else is wrong the program says.
    """
    _refuse_unknown(options)
    given = {name: value for name, value in options.items() if value is not None}
    if "wait_for" in options:
        given.setdefault("wait_for", _NO_LIMIT)
    given.setdefault("metrics", os.environ.get("IPCQ_REDIS_METRICS") or "127.0.0.1:0")
    arguments = [f"--queue={queue}", "--json"]
    for name, value in given.items():
        if name not in _OWN:
            arguments += _arguments_of(name, value)
    return arguments


def environment_of(options: Mapping[str, Any]) -> dict[str, str]:
    """This process' environment, with the server's address and the password: both may hold what others must not see."""
    environment = dict(os.environ)
    url, password = options.get("redis"), options.get("password")
    if url is not None:
        if "://" not in url:
            raise UsageError(f"bridge, redis: {url!r} is no URL; write redis://HOST[:PORT] or unix:///PATH")
        environment["IPCQ_REDIS_URL"] = _text("redis", url)
    if password is not None or (url is not None and "@" in url and urlsplit(url).password):
        # What was given here is meant, and not what the program would otherwise prefer.
        environment.pop("IPCQ_REDIS_PASSWORD", None)
        environment.pop("IPCQ_REDIS_PASSWORD_FILE", None)
    if password is not None:
        environment["IPCQ_REDIS_PASSWORD"] = _text("password", password)
    return environment

"""What the queue of an actor is to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._codecs import codec_of

if TYPE_CHECKING:
    from ._spec import ActorSpec

_LINE = 256  # bytes: the text of a failure has 224 of them
_LONGEST_IN_LINE = 1024
_DEFAULT_BYTES = 64 * 1024


def queue_options(spec: ActorSpec, options: dict[str, Any]) -> dict[str, Any]:
    """What its types and its workers need, and ``options`` over it."""
    asks, answers = codec_of(spec.input), codec_of(spec.output)
    lines = 1 << max(1, (spec.queue_size - 1).bit_length())
    chosen: dict[str, Any] = {
        "lines": lines,
        "line": _LINE,
        "calls": lines + spec.in_work,
        "held": max(16, spec.in_work // spec.workers + 1),
        "on_server_death": spec.on_death,
        "schema": asks.schema,
        "result_schema": answers.schema,
    }
    largest = max(asks.size or 0, answers.size or 0)
    vary = asks.size is None or answers.size is None
    if spec.message_bytes is None and not vary and largest <= _LONGEST_IN_LINE:
        chosen["slots"] = 0
        chosen["line"] = max(_LINE, -(-(largest + 32) // 64) * 64)
    else:
        chosen["slots"] = lines + 2 * spec.in_work + 16
        chosen["slot_bytes"] = spec.message_bytes or max(_DEFAULT_BYTES, largest)
    return {**chosen, **options, "paused": True}

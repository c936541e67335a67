"""Handlers written in Python: functions that Numba compiles, and CUDA C++ as text.

A handler changes each message of a queue in place, before anybody reads it, inside the persistent kernel of a GPU or
in a process on the host. ``ipcq.handler`` makes one, and ``create(..., handler=...)`` takes it:

    @ipcq.handler
    def threshold(data, team, level=128):
        for i in range(team.rank, data.size, team.size):
            data[i] = 0 if data[i] < level else 255

    broker.create("frames", slots=8, slot_bytes="1MiB", handler=threshold(level=100))

docs/guide/handlers-in-python.md says what such functions may do.
"""

from __future__ import annotations

from ._base import Handler
from ._context import DROP, REFUSE, Message, Team
from ._make import FunctionHandler, SourceHandler, handler

__all__ = ["DROP", "REFUSE", "FunctionHandler", "Handler", "Message", "SourceHandler", "Team", "handler"]

"""What a handler's function is given, and what it may return. The words are those of ``struct ipcq_context``."""

from __future__ import annotations

from typing import Final, NamedTuple

REFUSE: Final = 256
"""Returned by a handler: it is not for this message, which is passed on unchanged in what it means (``processed`` is
false)."""

DROP: Final = 512
"""Returned by a handler: readers never see the message."""

FAILED: Final = 255
"""The code of a message whose handler has raised an exception, on the host."""


class Team(NamedTuple):
    """The lanes that share a message: one thread on the host, many threads of a GPU. They cannot wait for each other.

    Attributes:
        rank: Of this lane, from 0.
        size: How many they are.
    """

    rank: int
    size: int


class Message(NamedTuple):
    """What is known of a message.

    Attributes:
        ticket: Its place in the queue's order.
        sequence: Its number among the messages of its producer, from 0.
        producer: Id of that, unique while it is attached.
        published_at_ns: CLOCK_MONOTONIC; 0 for a message carried in its line.
        record: Place of the record in its batch, from 0; 0 for a message that is no record.
        capacity: Bytes up to which its length may go.
    """

    ticket: int
    sequence: int
    producer: int
    published_at_ns: int
    record: int
    capacity: int


# Words of struct ipcq_context (ipcq/handler.h).
WORDS: Final = 16
RANK, SIZE, TICKET, SEQUENCE, PRODUCER, PUBLISHED_AT, RECORD, STATE, STATE_BYTES, CAPACITY, NEW_LENGTH = range(11)
FUNCTION: Final = "ipcq_handle"
ELEMENT_FUNCTION: Final = "ipcq_element"

"""Actors for the tests, in a module that worker processes import."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import ipcq
import numpy as np


@dataclass
class Reading:
    """What is asked."""

    sensor: int
    value: float


@dataclass
class Score:
    """What is answered."""

    sensor: int
    score: float


@dataclass
class Note:
    """Values of no given length."""

    text: str
    numbers: list[int]


@ipcq.actor(input=Reading, output=Score, priority=5)
def score(reading: Reading) -> Score:
    if reading.value < 0:
        raise ValueError(f"sensor {reading.sensor} is broken")
    if reading.value == 404:
        raise ipcq.Failure(404, "no such sensor")
    return Score(reading.sensor, reading.value * 2)


@ipcq.actor(input=Note, output=Note)
def turn(note: Note) -> Note:
    return Note(note.text[::-1], note.numbers[::-1])


@ipcq.actor
def echo(message: bytes) -> bytes:
    return message


@ipcq.actor()
def nothing(message: bytes) -> None:
    assert isinstance(message, bytes)


@ipcq.actor()
async def fetch(message: bytes) -> bytes:
    await asyncio.sleep(0.02)
    return message[::-1]


@ipcq.actor()
def letters(message: bytes):
    for letter in message:
        if letter == ord("!"):
            raise ValueError("no letter")
        yield bytes([letter])


@ipcq.actor()
async def letters_async(message: bytes):
    for letter in message:
        await asyncio.sleep(0)
        yield bytes([letter])


@ipcq.actor(input=np.ndarray, output=np.ndarray)
def double(array):
    return array * 2


@ipcq.actor(input=np.ndarray, output=np.ndarray, in_place=True)
def double_in_place(array):
    assert array.size == 0 or not isinstance(array.base, bytes), "it is a view of the message, and no copy"
    return array * 2


@ipcq.actor(input=np.ndarray, output=np.ndarray)
class Latest:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.before = np.zeros(1)

    def on_message(self, array):
        before, self.before = self.before, array
        return before


@ipcq.actor
class Counter:
    """Has state, and writes what happens to it into a file."""

    def __init__(self, first: int = 0, log: str = "") -> None:
        self.count = first
        self.log = log
        self._say("init")

    def _say(self, what: str) -> None:
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{what} {os.getpid()}\n")

    def on_start(self) -> None:
        self._say("start")

    def on_message(self, message: bytes) -> bytes:
        if message == b"fail":
            raise RuntimeError("asked to fail")
        if message == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        if message == b"exit":
            sys.exit(3)
        if message == b"pid":
            return b"%d" % os.getpid()
        if message.startswith(b"sleep "):
            time.sleep(float(message[6:]))
        self.count += 1
        return b"%d" % self.count

    def on_stop(self) -> None:
        self._say("stop")


@ipcq.actor()
class CounterAsync:
    """The same by coroutines."""

    def __init__(self, first: int = 0) -> None:
        self.count = -1000
        self.first = first

    async def on_start(self) -> None:
        await asyncio.sleep(0)
        self.count = self.first

    async def on_message(self, message: bytes) -> bytes:
        await asyncio.sleep(0)
        if message == b"fail":
            raise RuntimeError("asked to fail")
        self.count += 1
        return b"%d" % self.count


@ipcq.actor()
class Broken:
    """Cannot be made, if its file says so."""

    def __init__(self, file: str) -> None:
        if Path(file).exists():
            raise RuntimeError("cannot be made")

    def on_message(self, message: bytes) -> bytes:
        os._exit(5)


@ipcq.actor()
def sometimes_dies(message: bytes) -> bytes:
    """Dies by SIGKILL on what begins with k, raises on what begins with f."""
    if message[:1] == b"k":
        os.kill(os.getpid(), signal.SIGKILL)
    if message[:1] == b"f":
        raise ValueError("f")
    return message


@ipcq.actor()
def dies_once(message: bytes) -> bytes:
    """Dies on the first delivery; `message` is a file that says that it was."""
    file = Path(message.decode())
    if not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return b"again"


@ipcq.actor()
class Asks:
    """Asks another actor, whose reference it was given."""

    def __init__(self, other: ipcq.ActorRef | None = None, name: str = "") -> None:
        self.other = other if other is not None else ipcq.actor_ref(name)

    def on_message(self, message: bytes) -> bytes:
        return b"<" + self.other.ask(message, timeout=0.5) + b">"


@ipcq.actor()
class AsksAsync:
    """The same by a coroutine."""

    def __init__(self, other: ipcq.ActorRef | None = None, name: str = "", broker: str = "") -> None:
        self.other = other if other is not None else ipcq.actor_ref(name, broker=broker)

    async def on_message(self, message: bytes) -> bytes:
        if message == b"sync":
            return self.other.ask(message)
        if not message:
            return b"end"
        return b"<" + await self.other.ask_async(message[1:], timeout=2) + b">"


@ipcq.actor()
class Slow:
    """Takes its time to be made."""

    def __init__(self) -> None:
        time.sleep(1.0)

    def on_message(self, message: bytes) -> bytes:
        return b"%d" % os.getpid()


@ipcq.actor()
class Length:
    """Of what it was given."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)

    def on_message(self, message: bytes) -> bytes:
        return b"%d" % self.length

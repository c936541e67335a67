"""The command-line programs, which the wheel has in it. Each takes this process' place."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from . import _core


def program_path(name: str) -> Path:
    """Where a program of this package lies."""
    assert _core.__file__ is not None
    return Path(_core.__file__).parent / "_native" / "bin" / name


def _become(name: str, missing: str = "") -> NoReturn:
    path = program_path(name)
    if missing and not path.exists():
        sys.exit(f"{name}: {missing}")
    os.execv(path, [str(path), *sys.argv[1:]])


def ipcq() -> NoReturn:
    """Runs ``ipcq``."""
    _become("ipcq")


def ipcq_broker() -> NoReturn:
    """Runs ``ipcq-broker``."""
    _become("ipcq-broker")


def ipcq_producer() -> NoReturn:
    """Runs ``ipcq-producer``."""
    _become("ipcq-producer")


def ipcq_consumer() -> NoReturn:
    """Runs ``ipcq-consumer``."""
    _become("ipcq-consumer")


def ipcq_redis() -> NoReturn:
    """Runs ``ipcq-redis``."""
    _become("ipcq-redis", "this package was built without it: hiredis or libevent was missing then")

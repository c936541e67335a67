"""Where the files of handlers lie that were made in Python.

Queues are given files, and a broker may read one again after the call that named it (docs/design/handlers.md, Quick).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from .._errors import SystemError

_MOST_BYTES = 64 << 20


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or Path.home()) / ".cache"
    return Path(cache) / "ipcq" / "sources"


def _is_ours(path: Path) -> bool:
    """Nobody else may put code there that queues run."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _is_there(path: Path, content: bytes) -> bool:
    """Whether it is the file of that content; it counts as used now."""
    try:
        found = path.lstat()
        good = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
        if not good or path.read_bytes() != content:
            return False
        os.utime(path)
    except OSError:
        return False
    return True


def _prune(folder: Path, keep: Path) -> None:
    """Removes the files that were used longest ago, beyond ``_MOST_BYTES``."""
    files = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            files.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    room = _MOST_BYTES
    for _, size, path in sorted(files, reverse=True):
        room -= size
        if room < 0 and path != keep:
            with contextlib.suppress(OSError):
                path.unlink()


def keep(stem: str, ending: str, content: bytes) -> Path:
    """Writes a file under a name that tells its content, or finds it there.

    Raises:
        SystemError: The folder cannot be made or written, or others may write it.
    """
    folder = _folder()
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}{ending}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = _is_ours(folder)
        if ours and not _is_there(path, content):
            _write(path, content)
            _prune(folder, path)
    except OSError as error:
        raise SystemError(
            f"a handler's file cannot be kept in '{folder}': {error.strerror}; set XDG_CACHE_HOME to a folder that "
            "this user may write"
        ) from error
    if not ours:
        raise SystemError(
            f"handlers are kept in '{folder}', which is not this user's alone: make it so, or set XDG_CACHE_HOME"
        )
    return path


def _write(path: Path, content: bytes) -> None:
    """All or nothing."""
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise

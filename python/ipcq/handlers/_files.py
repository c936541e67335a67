"""Where the files of handlers lie that were made in Python.

Queues are given files, and a broker may read one again after the call that named it (docs/design/handlers.md, Quick).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from .._errors import SystemError

_MOST_BYTES = 64 << 20


def _folder() -> Path:
    """As that of the images (compiler/image_cache.hpp): a relative path counts for none."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not cache.startswith("/"):
        cache = str(Path(os.environ.get("HOME") or Path.home()) / ".cache")
    return Path(cache) / "ipcq" / "sources"


def _is_ours(path: Path) -> bool:
    """Nobody else may put code there that queues run."""
    found = path.stat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _is_there(path: Path, digest: str) -> bool:
    """Whether it is a file of this user's with a content of that digest, if one is given; it counts as used now."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            return False
        if digest and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
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


def write(path: Path, content: bytes) -> None:
    """All or nothing. Raises SystemError."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise SystemError(
            f"'{path}' cannot be written: {error.strerror}; is there such a folder, with room, and may this user write "
            "there?"
        ) from error


def keep(stem: str, ending: str, identity: bytes, content: Callable[[], bytes], is_content: bool) -> Path:
    """Finds a file under a name that tells what it was made of, or writes it.

    Args:
        stem: Beginning of its name.
        ending: Of its name.
        identity: What it is made of.
        content: Makes it.
        is_content: ``identity`` is the content itself, which a file that is there is held against.

    Raises:
        SystemError: The folder cannot be made or written, or others may write it.
    """
    digest = hashlib.sha256(identity).hexdigest()
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = _is_ours(folder)
    except (OSError, RuntimeError) as error:  # the latter: there is no home
        raise SystemError(
            f"the folder of handlers' files cannot be made: {error}; set XDG_CACHE_HOME to one that this user may write"
        ) from error
    if not ours:
        raise SystemError(
            f"handlers are kept in '{folder}', which is no folder that this user alone may write: make it one, or set "
            "XDG_CACHE_HOME"
        )
    path = folder / f"{stem}-{digest[:16]}{ending}"
    if not _is_there(path, digest if is_content else ""):
        write(path, content())
        with contextlib.suppress(OSError):
            _prune(folder, path)
    return path

"""Sizes as people write them."""

from __future__ import annotations

import re

from ._errors import UsageError

_UNITS = {
    "": 1,
    "B": 1,
    "k": 10**3,
    "kB": 10**3,
    "M": 10**6,
    "MB": 10**6,
    "G": 10**9,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_FRAME_4K_RGB = 3840 * 2160 * 3


def parse_size(size: int | str, what: str) -> int:
    """Bytes of ``size``: a number, or text as the programs take it (``4k-rgb``, ``64KiB``, ``1.5MB``).

    Raises:
        UsageError: It is no size; the text names ``what``.
    """
    if isinstance(size, int):
        return size
    if not isinstance(size, str):
        raise TypeError
    if size == "4k-rgb":
        return _FRAME_4K_RGB
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([A-Za-z]*)", size, re.ASCII)
    if match and match[2] in _UNITS:
        number = float(match[1]) * _UNITS[match[2]]
        if number >= 1 and number.is_integer():
            return int(number)
    raise UsageError(
        f"{what}: {size!r} is no size; write 4k-rgb, or a number of bytes with B, KiB, MiB, GiB, k, M or G behind it"
    )

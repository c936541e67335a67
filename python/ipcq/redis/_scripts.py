"""The scripts that run in the server: those of bridge/scripts, of which the wheel has copies beside this file."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def script_text(name: str) -> str:
    """Text of one of them."""
    beside = Path(__file__).parent / f"{name}.lua"
    if beside.exists():
        return beside.read_text(encoding="utf-8")
    sources = Path(__file__).resolve().parents[3]  # of an editable installation, or of tests
    return (sources / "bridge" / "scripts" / f"{name}.lua").read_text(encoding="utf-8")

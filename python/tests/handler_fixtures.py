"""What tests of handlers in Python need: they import these by name."""

import importlib.util
import os
import shutil

import pytest


@pytest.fixture
def needs_numba():
    if importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")


@pytest.fixture
def needs_numba_cuda(needs_numba):
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed")


@pytest.fixture
def needs_compiler():
    if not any(map(shutil.which, ("c++", "g++", "clang++"))) and "IPCQ_CXX" not in os.environ:
        pytest.skip("there is no C++ compiler in PATH")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where handlers are kept: a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ipcq" / "sources"

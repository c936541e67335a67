"""Actors whose work a handler does on a GPU: their callers cannot tell them from others."""

from __future__ import annotations

import importlib.util

import ipcq
import numpy as np
import pytest
from conftest import WAIT, eventually, gpu_or_skip

DEVICE = gpu_or_skip(whole_module=True)
IS_PLAYED = DEVICE.name == "soft GPU"


def test_a_handler_on_a_gpu_answers_bytes_and_arrays(runtime):
    upper = runtime.launch_handler("upper", "upper", backend="cuda")
    invert = runtime.launch_handler(
        "invert", "invert", input=np.ndarray, output=np.ndarray, backend="cuda", slot_bytes="256KiB"
    )
    assert upper.ask(b"from the GPU", timeout=WAIT) == b"FROM THE GPU"
    for shape in ((), (3,), (300, 400)):
        sent = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
        got = invert.ask(sent, timeout=WAIT)
        assert got.shape == shape
        assert np.array_equal(got, ~sent)
    # The executor tells its counts a moment after the messages.
    eventually(lambda: runtime.telemetry("invert").completed == 3, "three are counted")
    telemetry = runtime.telemetry("invert")
    assert (telemetry.received, telemetry.failed) == (3, 0)


@pytest.mark.skipif(IS_PLAYED, reason="the played GPU links no LTO-IR")
def test_a_python_function_on_a_gpu_is_an_actor(runtime):
    if importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")

    @ipcq.handler(elementwise=True, dtype="float32")
    def scale(x, factor=2.0):
        return x * factor

    actor = runtime.launch_handler(
        "scale", scale(factor=3.0), input=np.ndarray, output=np.ndarray, backend="cuda", slot_bytes="64KiB"
    )
    assert actor.ask(np.arange(5, dtype=np.float32), timeout=WAIT).tolist() == [0.0, 3.0, 6.0, 9.0, 12.0]

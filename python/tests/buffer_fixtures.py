"""What tests of buffers need: they import these by name. They run on a played GPU too (see driver.py)."""

import pytest
from conftest import gpu_or_skip
from driver import Driver, Gate


@pytest.fixture(scope="module", params=[None, 0], ids=["host", "gpu"])
def device(request):
    """Where buffers are: host memory, and a GPU where there is one."""
    if request.param is not None:
        gpu_or_skip()
    return request.param


@pytest.fixture(scope="module")
def driver():
    return Driver()


@pytest.fixture
def gate(driver):
    with Gate(driver) as gate:
        yield gate

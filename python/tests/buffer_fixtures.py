"""What tests of buffers need: they import these by name. They run on a played GPU too (see driver.py)."""

import ipcq
import pytest
from driver import Driver, Gate


def skip_without_gpu(*, whole_module=False):
    """Skips where there is no GPU 0."""
    try:
        ipcq.device(0)
    except ipcq.BackendError as error:
        pytest.skip(f"no GPU: {error}", allow_module_level=whole_module)


@pytest.fixture(scope="module", params=[None, 0], ids=["host", "gpu"])
def device(request):
    """Where buffers are: host memory, and a GPU where there is one."""
    if request.param is not None:
        skip_without_gpu()
    return request.param


@pytest.fixture(scope="module")
def driver():
    return Driver()


@pytest.fixture
def gate(driver):
    with Gate(driver) as gate:
        yield gate

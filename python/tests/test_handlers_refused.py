"""What cannot be a handler in Python: it is said in words, with the place of the function."""

from __future__ import annotations

import math
from pathlib import Path

import ipcq
import pytest
from handler_fixtures import cache, needs_numba, needs_numba_cuda  # noqa: F401

pytestmark = pytest.mark.usefixtures("cache")
TABLE = (4, 5, 6, 7)


def test_the_python_call_names_what_it_takes():
    def of_nothing():
        pass

    def of_others(data, other):
        pass

    def with_text(data, name="x"):
        pass

    def with_default(data=1):
        pass

    def any_number(data, *rest):
        pass

    def elements(x, y):
        pass

    async def later(data):
        pass

    def raises(data):
        if data[0] == 1:
            raise ValueError(data)

    def raises_within(data):
        def inner(x):
            assert x
            return x

        data[0] = inner(data[0])

    def by_place(data, /):
        pass

    for function, text in (
        (of_nothing, "its first parameter is data"),
        (of_others, "parameter 'other': the function is given data, team, message, length and state"),
        (with_text, "parameter 'name'"),
        (with_default, "parameter 'data': it is given to the function, and has no default"),
        (any_number, "parameter 'rest'"),
        (later, "a handler is a plain function"),
        (raises, "raise and assert cannot be compiled"),
        (raises_within, "raise and assert cannot be compiled"),
        (by_place, "without / and"),
        (len, "a handler is a plain function"),
    ):
        with pytest.raises(ipcq.UsageError, match=text):
            ipcq.handler(function)
    with pytest.raises(ipcq.UsageError, match="parameter 'y': behind the element"):
        ipcq.handler(elements, elementwise=True)
    with pytest.raises(ipcq.UsageError, match="its first parameter is the element"):
        ipcq.handler(of_nothing, elementwise=True)
    with pytest.raises(ipcq.UsageError, match="neither IPCQ_HANDLER"):
        ipcq.handler("threshold.cu")
    with pytest.raises(ipcq.UsageError, match="leave name out"):
        ipcq.handler(raises, name="other")


def test_what_numba_cannot_compile_is_said_in_words(needs_numba):
    import numpy as np

    @ipcq.handler
    def makes_an_array(data):
        data[0] = np.zeros(data.size).sum()

    @ipcq.handler
    def prints(data):
        print(data[0])

    @ipcq.handler
    def opens(data):
        data[0] = len(globals())

    @ipcq.handler
    def returns_text(data):
        return 1.5

    @ipcq.handler(elementwise=True, dtype="complex64")
    def of_complex(x):
        return x

    @ipcq.handler(dtype="no type")
    def of_no_type(data):
        pass

    @ipcq.handler(dtype="float64")
    def gamma(data):
        data[0] = math.gamma(data[0])

    @ipcq.handler
    def imports(data):
        import math as m

        data[0] = m.pi

    @ipcq.handler(elementwise=True, dtype=">i4")
    def big_endian(x):
        return x

    @ipcq.handler(state_dtype="no type")
    def odd_state(data, state):
        data[0] = state[0]

    @ipcq.handler(elementwise=True)
    def not_on_each_path(x):
        if x > 3:
            return 1
        return None

    for handler, text in (
        (makes_an_array, "it makes or copies an array"),
        (prints, "it needs the Python interpreter"),
        (gamma, r"it needs a part of Numba's library \(numba_gamma\)"),
        (imports, "Numba cannot compile it for the host"),
        (big_endian, "is not in the machine's byte order"),
        (odd_state, "state_dtype: 'no type' is no type of elements"),
        (not_on_each_path, "returns a number on each path"),
        (opens, r"(?s)Numba cannot compile it for the host:\n.*globals"),
        (returns_text, "a handler returns nothing or a code, an integer; this one returns float64"),
        (of_complex, "an elementwise handler has elements of int8, .* not complex64"),
        (of_no_type, "dtype: 'no type' is no type of elements"),
    ):
        with pytest.raises(ipcq.UsageError, match=text) as caught:
            handler.queue_option("host")
        assert "test_handlers_refused.py" in str(caught.value)  # where the function stands


def test_a_gpu_needs_no_gpu_to_compile_for(needs_numba_cuda):
    import numpy as np

    @ipcq.handler
    def step(data, team):
        for i in range(team.rank, data.size, team.size):
            data[i] += 1

    @ipcq.handler(elementwise=True)
    def invert(x):
        return ~x

    @ipcq.handler
    def prints(data):
        print(data[0])

    @ipcq.handler
    def makes_an_array(data):
        data[0] = np.zeros(data.size).sum()

    for handler, section in ((step, b".ipcq_ltoir"), (invert, b".ipcq_element")):
        file = Path(handler.queue_option("cuda"))
        assert section in file.read_bytes()
    assert b".ipcq_ltoir" not in Path(step.queue_option("host")).read_bytes()

    @ipcq.handler(elementwise=True)
    def looks_up(x):
        return TABLE[x & 3]

    @ipcq.handler(dtype="float32")
    def of_numpy(data):
        data[0] = np.sqrt(data[0])

    for handler, text in (
        (prints, "it prints"),
        (makes_an_array, "Numba cannot compile it for a GPU"),
        (looks_up, "a tuple that is indexed by a variable"),
        (of_numpy, "Numba cannot compile it for a GPU"),
    ):
        with pytest.raises(ipcq.UsageError, match=text):
            handler.queue_option("cuda")

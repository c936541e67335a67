"""How handlers are made of functions and of text, what is refused, and where their files lie."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import ipcq
import pytest
from conftest import WAIT

CPP = """
#include <ipcq/handler.hpp>
struct Add {
  int n = 1;
  bool twice = false;
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {
      data[i] = static_cast<std::byte>(static_cast<int>(data[i]) + n * (twice ? 2 : 1));
    }
  }
};
IPCQ_HANDLER(Add, n, twice)
"""


@pytest.fixture
def needs_numba():
    if importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")


@pytest.fixture
def needs_compiler():
    if not any(map(shutil.which, ("c++", "g++", "clang++"))) and "IPCQ_CXX" not in os.environ:
        pytest.skip("there is no C++ compiler in PATH")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ipcq" / "sources"


def test_text_is_compiled_with_its_parameters(broker, session, needs_compiler):
    add = ipcq.handler(CPP, name="add")
    broker.create("t", slots=4, handler=add(n=2, twice=True), backend="host")
    with session.producer("t") as producer, session.consumer("t") as consumer:
        producer.send(b"a")
        assert consumer.receive_bytes(timeout=WAIT) == b"e"
        broker.replace_handler("t", add(n=1))
        producer.send(b"a")
        assert consumer.receive_bytes(timeout=WAIT) == b"b"
    with pytest.raises(ipcq.UsageError, match="it has no parameter 'm'; there are n, twice"):
        broker.create("u", slots=4, handler=add(m=2), backend="host")


def test_text_that_does_not_compile_is_refused_with_the_compilers_words(broker, needs_compiler):
    broken = ipcq.handler(CPP.replace("data[i] =", "dat[i] ="), name="broken")
    with pytest.raises(ipcq.UsageError, match=r"its handler does not compile:\n[^$]*broken-\w+\.cu:9[^$]*dat"):
        broker.create("t", slots=4, handler=broken, backend="host")


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

    for function, text in (
        (of_nothing, "its first parameter is data"),
        (of_others, "parameter 'other': the function is given data, team, message, length and state"),
        (with_text, "parameter 'name'"),
        (with_default, "parameter 'data': it is given to the function, and has no default"),
        (any_number, "parameter 'rest'"),
        (later, "a handler is a plain function"),
        (raises, "raise and assert cannot be compiled"),
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


def test_parameters_are_numbers_that_the_function_has():
    @ipcq.handler
    def step(data, n=1):
        data[0] += n

    assert repr(step(n=2)) == "<ipcq.Handler step, n=2>"
    assert dict(step(n=2).parameters) == {"n": 2}
    assert dict(step.parameters) == {}
    with pytest.raises(ipcq.UsageError, match="it has no parameter 'm'; there are: n"):
        step(m=2)
    with pytest.raises(ipcq.UsageError, match="parameter 'n': 'x' is no bool, int or float"):
        step(n="x")


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

    for handler, text in (
        (makes_an_array, "it makes an array"),
        (prints, "it needs the Python interpreter"),
        (opens, r"(?s)Numba cannot compile it for the host:\n.*globals"),
        (returns_text, "a handler returns nothing or a code, an integer; this one returns float64"),
        (of_complex, "an elementwise handler has elements of int8, .* not complex64"),
        (of_no_type, "dtype is a type of elements"),
    ):
        with pytest.raises(ipcq.UsageError, match=text) as caught:
            handler.queue_option("host")
        assert "test_handlers_made.py" in str(caught.value)  # where the function stands


def test_a_gpu_needs_no_gpu_to_compile_for(needs_numba):
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed")
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
    for handler, text in ((prints, "it prints"), (makes_an_array, "it makes an array")):
        with pytest.raises(ipcq.UsageError, match=text):
            handler.queue_option("cuda")


def test_an_object_for_a_gpu_alone_is_refused_by_a_queue_on_the_host(broker, needs_numba, needs_compiler, tmp_path):
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed")

    @ipcq.handler
    def step(data):
        data[0] += 1

    file = step.save(tmp_path / "step.o", "cuda")
    with pytest.raises(ipcq.UsageError, match="ipcq_handle"):
        broker.create("t", slots=4, handler=file, backend="host")


def test_files_are_kept_once_and_for_this_user_alone(cache):
    text = ipcq.handler(CPP, name="kept/../name")
    path = Path(text.queue_option())
    assert path.parent == cache
    assert path.name.startswith("kept____name-")
    assert path.read_text() == CPP
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert Path(text.queue_option()) == path
    path.chmod(0o600)
    path.write_text("changed")  # by whomever: what is used is what was asked for
    assert Path(text.queue_option()).read_text() == CPP
    assert len(list(cache.iterdir())) == 1
    cache.chmod(0o777)
    with pytest.raises(ipcq.SystemError, match="is not this user's alone"):
        text.queue_option()


def test_of_old_files_the_newest_are_kept(cache, monkeypatch):
    monkeypatch.setattr("ipcq.handlers._files._MOST_BYTES", 3 * len(CPP))
    paths = [Path(ipcq.handler(CPP + f"// {n}\n", name="n").queue_option()) for n in range(4)]
    for age, path in enumerate(reversed(paths)):
        if path.exists():
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
    Path(ipcq.handler(CPP, name="last").queue_option())
    assert not paths[0].exists()
    assert len(list(cache.iterdir())) <= 3


def test_the_package_imports_without_numba_and_numpy(tmp_path):
    script = tmp_path / "without.py"
    script.write_text(
        "import sys\nsys.modules['numba'] = sys.modules['numpy'] = None\nimport ipcq\n"
        "@ipcq.handler\ndef step(data): data[0] = 1\n"
        "try: step.queue_option('host')\nexcept ipcq.BackendError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert "pip install ipcq[numba]" in done.stdout


@pytest.mark.timeout(300)
def test_zig_compiles_where_there_is_no_compiler(name, tmp_path):
    """Of the package ziglang, beside this one. The first time it compiles its C++ library, half a minute."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed")
    if "site-packages" not in (ipcq.__file__ or ""):
        pytest.skip("this ipcq is not installed beside it")
    script = tmp_path / "zig.py"
    script.write_text(
        "import os, sys, ipcq\n"
        f"add = ipcq.handler('''{CPP}''', name='add')\n"
        "with ipcq.Broker(sys.argv[1]) as broker, ipcq.connect(sys.argv[1]) as session:\n"
        "    broker.create('z', slots=4, handler=add(n=3), backend='host')\n"
        "    with session.producer('z') as producer:\n        producer.send(b'a')\n"
        "    print([bytes(message) for message in session.consumer('z')])\n"
    )
    zig_cache = os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(Path.home() / ".cache" / "zig"))
    environment = {**os.environ, "PATH": "/nowhere", "ZIG_GLOBAL_CACHE_DIR": zig_cache}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        [sys.executable, script, name], env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.stdout == "[b'd']\n", done.stderr

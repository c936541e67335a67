"""How handlers are made of functions and of text, what is refused, and where their files lie."""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import ipcq
import pytest
from conftest import WAIT
from handler_fixtures import cache, needs_compiler, needs_numba, needs_numba_cuda  # noqa: F401

pytestmark = pytest.mark.usefixtures("cache")
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


def test_parameters_are_numbers_that_the_function_has():
    @ipcq.handler
    def step(data, n=1):
        data[0] += n

    assert repr(step(n=2)) == "<ipcq.Handler step, n=2>"
    assert dict(step(n=2).parameters) == {"n": 2}
    assert dict(step.parameters) == {}
    with pytest.raises(ipcq.UsageError, match="it has no parameter 'm'; there are: n"):
        step(m=2)
    for value in ("x", None, 10**5000, 2**64, 1j):
        with pytest.raises(ipcq.UsageError, match="parameter 'n': .* is no bool, int of 64 bits or float"):
            step(n=value)


def test_parameters_of_text_are_plain_numbers(cache):
    import enum

    import numpy as np

    class Level(enum.IntEnum):
        HIGH = 3

    add = ipcq.handler(CPP, name="add")
    assert add(n=np.float64(2), twice=True).queue_option().endswith(".cu:n=2.0:twice=yes")
    assert add(n=np.float32(2.5), twice=np.bool_(True)).queue_option().endswith(".cu:n=2.5:twice=yes")
    assert add(n=Level.HIGH).queue_option().endswith(":n=3")
    assert add(n=-(2**63)).queue_option().endswith(":n=-9223372036854775808")


@ipcq.handler
def at_the_top(data, n=1):
    data[0] += n


def test_handlers_are_pickled_by_their_names(cache):
    add = ipcq.handler(CPP, name="add")(n=2)
    again = pickle.loads(pickle.dumps(add))
    assert (again.source, again.name, dict(again.parameters)) == (CPP, "add", {"n": 2})
    assert copy.deepcopy(at_the_top(n=4)).parameters == {"n": 4}
    assert pickle.loads(pickle.dumps(at_the_top)) is at_the_top
    assert dict(pickle.loads(pickle.dumps(at_the_top(n=4))).parameters) == {"n": 4}

    @ipcq.handler
    def local(data):
        data[0] = 1

    with pytest.raises(ipcq.UsageError, match="is no handler: those that are passed to processes stand at the top"):
        pickle.loads(pickle.dumps(local))


def test_an_object_for_a_gpu_alone_is_refused_by_a_queue_on_the_host(
    broker, needs_numba_cuda, needs_compiler, tmp_path
):
    @ipcq.handler
    def step(data):
        data[0] += 1

    file = step.save(tmp_path / "step.o", "cuda")
    with pytest.raises(ipcq.UsageError, match="has code for a GPU alone"):
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
    with pytest.raises(ipcq.SystemError, match="no folder that this user alone may write"):
        text.queue_option()


def test_a_relative_cache_counts_for_none(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(ipcq.handler(CPP).queue_option()).is_relative_to(tmp_path / ".cache" / "ipcq" / "sources")


def test_a_numpy_that_numba_cuda_does_not_know_is_named(needs_numba_cuda, tmp_path):
    script = tmp_path / "newer.py"
    script.write_text(
        "import importlib.metadata as about, ipcq\n"
        "found = about.version\n"
        "about.version = lambda name: {'numpy': '2.5.5', 'numba-cuda': '0.30.4'}.get(name) or found(name)\n"
        "@ipcq.handler\ndef step(data): data[0] = 1\n"
        "try: step.queue_option('cuda')\nexcept ipcq.BackendError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "numba-cuda 0.30.4 does not work with NumPy 2.5.5: pip install 'numpy<2.5'\n"


@pytest.mark.parametrize("library", ["cudart", "nvrtc", "nvvm"])
def test_a_library_of_cuda_that_is_missing_is_named_with_what_brings_it(needs_numba_cuda, tmp_path, library):
    script = tmp_path / "lacks.py"
    script.write_text(
        "import cuda.pathfinder, ipcq, sys\n"
        "found = cuda.pathfinder.load_nvidia_dynamic_lib\n"
        "def finds(name):\n"
        "    if name == sys.argv[1]: raise cuda.pathfinder.DynamicLibNotFoundError(f'no lib{name}\\n  looked in')\n"
        "    return found(name)\n"
        "cuda.pathfinder.load_nvidia_dynamic_lib = finds\n"
        "@ipcq.handler\ndef step(data): data[0] = 1\n"
        "for _ in range(2):\n"
        "    try: step.queue_option('cuda')\n    except ipcq.BackendError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, script, library], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    for said in (first, second):
        assert "found" in said
        assert "nvidia-cuda-runtime" in said


def test_of_old_files_the_newest_are_kept(cache, monkeypatch):
    monkeypatch.setattr("ipcq.handlers._files._MOST_BYTES", 3 * len(CPP) + 20)
    paths = [Path(ipcq.handler(CPP + f"// {n}\n", name="n").queue_option()) for n in range(4)]
    for age, path in enumerate(reversed(paths)):
        if path.exists():
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
    last = Path(ipcq.handler(CPP, name="last").queue_option())
    assert not paths[0].exists()
    assert sorted(path.name for path in cache.iterdir()) == sorted(p.name for p in [*paths[2:], last])


def test_the_package_imports_without_numba_and_numpy(tmp_path):
    script = tmp_path / "without.py"
    script.write_text(
        "import sys\nsys.modules['numba'] = sys.modules['numpy'] = None\nimport ipcq\n"
        "@ipcq.handler\ndef step(data): data[0] = 1\n"
        "try: step.queue_option('host')\nexcept ipcq.BackendError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert "pip install 'numba>=0.62'" in done.stdout


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

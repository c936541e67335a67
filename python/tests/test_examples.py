"""The examples of examples/python, as a user runs them, with small numbers."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import WAIT
from redis_fixtures import server  # noqa: F401 - fixture

FOLDER = Path(__file__).parents[2] / "examples" / "python"
if not FOLDER.exists():
    pytest.skip("the examples are in the source tree, and this is not in it", allow_module_level=True)
pytest.importorskip("numpy", reason="the examples use NumPy")


@pytest.mark.parametrize(
    ("program", "arguments", "says"),
    [
        ("tokenizer_engine.py", ["--requests", "300"], "300 prompts"),
        ("data_loader.py", ["--samples", "640", "--epochs", "2", "--device", "host"], "0 unused, 0 used twice"),
        ("camera.py", ["--frames", "400", "--kills", "3"], "400 frames, 3 models killed: 0 missing, 0 wrong"),
        ("anomaly_actors.py", ["--points", "20000", "--batch", "100"], "every one is right"),
        ("anomaly_actors.py", ["--points", "9999", "--streams", "3", "--tier", "thread"], "every one is right"),
        ("page_rank_actors.py", ["--nodes", "2000", "--edges", "9000"], "every rank is right"),
        ("page_rank_actors.py", ["--nodes", "500", "--edges", "300", "--tier", "async"], "every rank is right"),
    ],
)
def test_an_example_says_that_all_is_right(program, arguments, says):
    ran = subprocess.run(
        [sys.executable, FOLDER / program, *arguments], capture_output=True, text=True, timeout=3 * WAIT
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert says in ran.stdout
    assert "Traceback" not in ran.stderr


def test_thumbnails_are_made_of_tasks_in_redis(server):
    command = [sys.executable, FOLDER / "redis_thumbnails.py", "--images", "40", "--redis", server.url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=3 * WAIT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "damaged.pgm, after 3 attempts: a server failed, code 1: an image of" in ran.stdout
    assert "41 thumbnails by 2 servers" in ran.stdout
    assert "1 dead letter put back, 2 attempts repeated: 0 wrong" in ran.stdout
    assert "Traceback" not in ran.stderr
    assert server.client().keys() == []


def test_the_data_loader_feeds_a_gpu(gpu, torch):
    ran = subprocess.run(
        [sys.executable, FOLDER / "data_loader.py", "--samples", "6400", "--device", str(gpu.index)],
        capture_output=True,
        text=True,
        timeout=3 * WAIT,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "19200 samples on cuda" in ran.stdout
    assert "0 unused, 0 used twice, contents right" in ran.stdout


def ask(port, path, data=None):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=WAIT) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_web_service_answers_from_the_queue():
    command = [sys.executable, FOLDER / "web_service.py", "--port", "0", "--backend", "host"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as service:
        try:
            port = int(service.stdout.readline().split()[-1])
            assert ask(port, "/upper", b"hello " * 500) == (200, b"HELLO " * 500)
            for k in range(20):
                assert ask(port, "/upper", b"x%d" % k) == (200, b"X%d" % k)
            assert ask(port, "/nothing")[0] == 404
            assert ask(port, "/upper", bytes(100_000))[0] == 400
            status, stats = ask(port, "/stats")
            assert status == 200
            assert json.loads(stats)["processed"] == 21
            service.send_signal(signal.SIGTERM)
            assert service.wait(WAIT) == 0
            assert "Traceback" not in service.stderr.read()
        finally:
            if service.poll() is None:
                os.kill(service.pid, signal.SIGKILL)

#!/usr/bin/env python3
"""soak_terms_test.py SOAK BIN_DIR

What scripts/soak says of itself: a short round is spoiled in one way after the other, and the term that counts it must
be the one that is not 0.
"""
import glob
import importlib.machinery
import importlib.util
import io
import os
import random
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(sys.argv[1]))  # where its modules are
loader = importlib.machinery.SourceFileLoader("soak", sys.argv[1])
soak = importlib.util.module_from_spec(importlib.util.spec_from_loader("soak", loader))
loader.exec_module(soak)
from soak_records import BAD


def survivors_file(r, least_lines, queue="plain"):
    for path in sorted(glob.glob(r.records.path(f"out-{queue}-default-*"))):
        with open(path, "rb") as f:
            lines = f.read().split(b"\n")[:-1]
        if r.records.survived.get(int(path.rsplit("-", 1)[1])) and len(lines) > least_lines:
            return path, lines
    raise AssertionError("no consumer that ended well has received anything")


def write(path, lines):
    with open(path, "wb") as f:
        f.write(b"".join(line + b"\n" for line in lines))


def lose(r):
    path, lines = survivors_file(r, 2)
    write(path, lines[1:])


def double(r):
    path, lines = survivors_file(r, 2)
    write(path, lines + lines[-1:])


def damage(r):
    path, lines = survivors_file(r, 2)
    write(path, [lines[0].replace(b"p", b"q", 1)] + lines[1:])


def undo(r):
    path, lines = survivors_file(r, 2, "own")
    write(path, [lines[0].lower()] + lines[1:])


def turn_round(r):
    path, lines = survivors_file(r, 2)
    write(path, lines[::-1])


def leak(r):
    with open(f"/dev/shm/ipcq+{r.broker.name}+left", "w"):
        pass


def hang(r):
    r.broker.patience = 5
    os.kill(r.broker.process.pid, signal.SIGSTOP)


def run(spoil_files=None, spoil_before_stop=None):
    directory = tempfile.mkdtemp(prefix="ipcq-soak-terms-")
    sys.argv = ["soak", "--bin", bin_dir, "--own", "--seconds", "1.5", "--keep", directory]
    said = io.StringIO()
    r = soak.Round(soak.options(), random.randrange(1 << 30), directory, said)
    check_lines, stop_broker = r.terms.check_lines, r.broker.stop
    if spoil_files:
        r.terms.check_lines = lambda stats: (spoil_files(r), check_lines(stats))
    if spoil_before_stop:
        r.broker.stop = lambda: (spoil_before_stop(r), stop_broker())
    try:
        return r.run(float("inf")), said.getvalue()
    finally:
        shutil.rmtree(directory)
        for path in glob.glob(f"/dev/shm/*{r.broker.name}*"):
            os.unlink(path)


bin_dir = sys.argv[2]
run_dir = tempfile.mkdtemp(prefix="ipcq-soak-run-")
os.environ["XDG_RUNTIME_DIR"] = run_dir
failures = 0
for name, term, spoil in (("nothing", None, {}),
                          ("a line taken out", "lost", {"spoil_files": lose}),
                          ("a line repeated", "doubled", {"spoil_files": double}),
                          ("a byte changed", "corrupt", {"spoil_files": damage}),
                          ("a line that no handler has seen", "corrupt", {"spoil_files": undo}),
                          ("lines in reverse", "corrupt", {"spoil_files": turn_round}),
                          ("a name in /dev/shm", "leaked", {"spoil_before_stop": leak}),
                          ("a broker that stands still", "hung", {"spoil_before_stop": hang})):
    result, said = run(**spoil)
    good = bool(result[term]) if term else not result["failures"]
    # A damaged line is missing, too; a broker that was killed leaves its names.
    others = {"corrupt": {"lost"}, "hung": {"leaked"}}.get(term, set()) | {term}
    good = good and not any(result[other] for other in BAD if other not in others)
    print(f"{name}: {'as it should be' if good else 'WRONG'}: {soak.as_text(result)}")
    if not good:
        print(said)
        failures += 1
shutil.rmtree(run_dir)
sys.exit(1 if failures else 0)

#!/usr/bin/env python3
"""The part of scripts/wheel that looks into the wheel: wheel_check.py WHEEL

Unpacks it and says what a user's machine would not find: a library that is neither in the wheel nor of every Linux, a
program that does not start, a file or a library's licence that is missing, a file that should not be there. Returns 1 then.
"""
import os
import re
import subprocess
import sys
import tempfile
import zipfile

# Of every glibc system; what auditwheel lets a wheel take from outside.
SYSTEM = re.compile(r"(lib(c|m|dl|rt|pthread|z|gcc_s|stdc\+\+)\.so\.\d+|ld-linux-x86-64\.so\.2|linux-vdso\.so\.1)$")
PROGRAMS = ("ipcq", "ipcq-broker", "ipcq-producer", "ipcq-consumer", "ipcq-compiler", "ipcq-host-runner", "ipcq-redis")
PROGRAMS_WITH_CUDA = ("ipcq-runner",)
NOT_FOR_ITSELF = ("ipcq-runner", "ipcq-host-runner")  # a broker starts them, with descriptors
NEEDED = ("ipcq/__init__.py", "ipcq/py.typed", "ipcq/_core.pyi", "ipcq/_core.abi3.so", "ipcq/redis/add.lua",
          "ipcq/redis/requeue.lua")
# Of libraries whose licence's text has another name than theirs.
LICENCES = {"libevent_core-2": "libevent", "libevent_extra-2": "libevent"}
MOST_BYTES = 100 << 20  # what the package index takes by default

failed = False


def complain(text):
    global failed
    failed = True
    print(text)


def check_names(names):
    for name in NEEDED + tuple(f"ipcq/_native/bin/{program}" for program in PROGRAMS):
        if name not in names:
            complain(f"{name} is not in the wheel")
    for name in names:
        if not re.match(r"ipcq(-[^/]+\.dist-info|\.libs)?/", name) or re.search(r"__pycache__|\.(cpp|hpp|a|pc|cmake)$", name):
            complain(f"{name} should not be in the wheel")


def check_licences(folder, names):
    """Each library in the wheel, by auditwheel or compiled in, has its licence's text there, python/licenses/LIBRARY.txt."""
    there = {os.path.basename(name): name for name in names if re.search(r"\.dist-info/licenses/.*\.txt$", name)}
    # Of Boost's licence object code need not have the text.
    for library in ("cli11", "nanobind", "nlohmann-json", "tomlplusplus"):
        if f"{library}.txt" not in there:
            complain(f"{library}, which is compiled in, has no licence in the wheel: python/licenses/{library}.txt")
    for name in names:
        library = re.match(r"ipcq\.libs/(lib[\w-]+?)-[0-9a-f]{8,}\.(\d+\.)*so", name)
        if library is None:
            if name.startswith("ipcq.libs/") and not name.endswith("/"):
                complain(f"{name} is no library whose name this check knows")
            continue
        text = f"{LICENCES.get(library[1], library[1])}.txt"
        if text not in there:
            complain(f"{name} is in the wheel without its licence: put the text into python/licenses/{text}")
        elif "Copyright" not in open(os.path.join(folder, there[text]), encoding="utf-8").read():
            complain(f"{there[text]} names no holder of the copyright")


def check_libraries(folder, path, environment):
    """Each library that a file needs is in the wheel, or of the system."""
    said = subprocess.run(["ldd", path], capture_output=True, text=True, env=environment, check=False).stdout
    for line in said.splitlines():
        name = line.split()[0]
        target = line.partition("=> ")[2]
        if SYSTEM.search(name):
            continue
        if not os.path.realpath(target.split(" (")[0]).startswith(folder + os.sep):
            complain(f"{os.path.relpath(path, folder)} takes {name} from {target or 'nowhere'}")


def main():
    wheel = sys.argv[1]
    if os.path.getsize(wheel) > MOST_BYTES:
        complain(f"{wheel} has more than {MOST_BYTES >> 20} MiB")
    environment = {"PATH": "/nonexistent", "LC_ALL": "C"}
    ldd = {**environment, "PATH": os.environ["PATH"]}
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
            names = archive.namelist()
            for entry in archive.infolist():  # which extractall() forgets
                if entry.external_attr >> 16 & 0o111:
                    os.chmod(os.path.join(folder, entry.filename), 0o755)
        check_names(names)
        check_licences(folder, names)
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and open(path, "rb").read(4) == b"\x7fELF":
                check_libraries(folder, path, ldd)
        programs = os.path.join(folder, "ipcq/_native/bin")
        for program in sorted(os.listdir(programs)):
            path = os.path.join(programs, program)
            if program not in PROGRAMS + PROGRAMS_WITH_CUDA:
                complain(f"{program} is no program that this check knows")
            elif not os.access(path, os.X_OK):
                complain(f"{program} is not executable")
            elif program not in NOT_FOR_ITSELF:
                done = subprocess.run([path, "--version"], capture_output=True, text=True, env=environment, timeout=60, check=False)
                if done.returncode != 0:
                    complain(f"{program} --version: exit code {done.returncode}: {done.stdout}{done.stderr}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
